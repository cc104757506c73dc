"""What choosing tokens costs a step, with and without each feature: milliseconds a step, on an idle machine.

PYTHONPATH=src OMP_NUM_THREADS=1 python scripts/sampler_cost.py --vocabulary 49152 --texts 8
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from ropewalk.engine.sampling import Sampling, choose
from ropewalk.engine.weighing import Weighing, weighed

ROUNDS = 50
FEATURES = {
    "nothing": {},
    "greedy": {"temperature": 0.0},
    "min-p": {"min_p": 0.05},
    "top-p": {"top_p": 0.95},
    "penalties": {"repetition_penalty": 1.1, "presence_penalty": 0.5, "frequency_penalty": 0.5},
    "bias": {"logit_bias": ((1, 2.0), (2, -2.0))},
}


def milliseconds(step: Callable[[], object]) -> float:
    """The median of some rounds, after one that does not count."""
    step()
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        step()
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vocabulary", type=int, default=49_152)
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--prompt-tokens", type=int, default=1_000)
    given = parser.parse_args()
    logits_BV = torch.randn(given.texts, given.vocabulary)
    draws_B = torch.rand(given.texts)
    prompt = torch.randint(given.vocabulary, (given.prompt_tokens,)).tolist()
    for name, feature in FEATURES.items():
        for count in dict.fromkeys((1, given.texts)):  # one text asks for it, or all
            samplings = [Sampling(100, **(feature if row < count else {})) for row in range(given.texts)]
            weighings = {
                row: Weighing(prompt, sampling, most_tokens=100) for row, sampling in enumerate(samplings) if sampling.weighs
            }

            def step(samplings=samplings, weighings=weighings):
                return choose(weighed(logits_BV, weighings), samplings, draws_B)

            print(f"{name:<10} {count:>3} of {given.texts} texts  {milliseconds(step):8.3f} ms a step")


if __name__ == "__main__":
    main()
