"""ropewalk's part of bench/engine.py in a process of its own: it works when it is asked to.

    python bench/engine_worker.py JOB PRECISION FOLDER

Prints a line when it is ready, then reads numbers of steps and answers each with the tokens that were read or written and
the seconds that took.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from ropewalk.model import Precision

PROMPT_TOKENS, PREFILL_TOKENS, NEW_TOKENS = 128, 512, 8
ROLLOUT_PROMPTS, ROLLOUT_SAMPLES, ROLLOUT_TOKENS = 16, 8, 64
FIRST_ID, LAST_ID = 1_000, 40_000  # words, whichever
Job = Callable[[int], dict[str, Any]]


def main() -> None:
    from ropewalk.runtime.threads import wait_politely

    wait_politely()
    job, precision, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    kind, _, count = job.partition(" ")
    serve(MAKERS[kind](folder, precision, int(count or 1)))


def serve(work: Job) -> None:
    """Answer the numbers that come."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(work(int(line))), flush=True)


def prompts(draws: random.Random, count: int, length: int) -> list[list[int]]:
    return [[draws.randrange(FIRST_ID, LAST_ID) for _ in range(length)] for _ in range(count)]


def engine_of(folder: Path, precision: str, slots: int):
    """An engine whose texts end by their lengths alone: all contestants must write as much."""
    from ropewalk.engine.load import load_engine

    engine = load_engine(folder / "model", slots=slots, precision=cast("Precision", precision))
    engine.stop_ids = frozenset()
    return engine


def decode(folder: Path, precision: str, texts: int) -> Job:
    from ropewalk.engine.sampling import Sampling

    engine, draws = engine_of(folder, precision, texts), random.Random(0)

    def work(steps: int) -> dict[str, Any]:
        for number, prompt in enumerate(prompts(draws, texts, PROMPT_TOKENS)):
            engine.submit(number, prompt, Sampling(steps + 2, temperature=0))
        written: set[int] = set()
        while len(written) < texts:
            written |= {token.request for token in engine.step()}
        started, made = time.perf_counter(), 0
        for _ in range(steps):
            made += len(engine.step())
        seconds = time.perf_counter() - started
        for number in range(texts):
            engine.cancel(number)
        return {"tokens": made, "seconds": seconds}

    return work


def prefill(folder: Path, precision: str, _: int) -> Job:
    engine, draws = engine_of(folder, precision, 1), random.Random(0)

    def work(_: int) -> dict[str, Any]:
        seconds = first_token_seconds(engine, prompts(draws, 1, PREFILL_TOKENS)[0])
        return {"tokens": PREFILL_TOKENS, "seconds": seconds}

    return work


def prefix(folder: Path, precision: str, _: int) -> Job:
    engine, draws = engine_of(folder, precision, 1), random.Random(0)

    def work(_: int) -> dict[str, Any]:
        (prompt,) = prompts(draws, 1, PREFILL_TOKENS)
        seconds = first_token_seconds(engine, prompt)
        other = prompt[:-NEW_TOKENS] + prompts(draws, 1, NEW_TOKENS)[0]
        return {"tokens": PREFILL_TOKENS, "seconds": seconds, "hit_seconds": first_token_seconds(engine, other)}

    return work


def first_token_seconds(engine, prompt: list[int]) -> float:
    from ropewalk.engine.sampling import Sampling

    started = time.perf_counter()
    engine.generate([prompt], [Sampling(1, temperature=0)])
    return time.perf_counter() - started


def rollouts(folder: Path, precision: str, _: int) -> Job:
    from ropewalk.engine.sampling import Sampling

    engine, draws = engine_of(folder, precision, ROLLOUT_PROMPTS * ROLLOUT_SAMPLES), random.Random(0)

    def work(_: int) -> dict[str, Any]:
        asked = [one for one in prompts(draws, ROLLOUT_PROMPTS, ROLLOUT_TOKENS) for _ in range(ROLLOUT_SAMPLES)]
        samplings = [Sampling(ROLLOUT_TOKENS, seed=seed) for seed in range(len(asked))]
        started = time.perf_counter()
        made = engine.generate(asked, samplings)
        return {"tokens": sum(len(one.ids) for one in made), "seconds": time.perf_counter() - started}

    return work


def quality(folder: Path, precision: str, _: int) -> Job:
    """Log-probabilities of the whole vocabulary at every position of a text, into a file."""
    import torch

    engine = engine_of(folder, precision, 1)
    ids_BT = torch.tensor(json.loads((folder / "text.json").read_text()))

    def work(_: int) -> dict[str, Any]:
        with torch.inference_mode():
            logprobs_BTV = engine.model.logits(engine.model(ids_BT)).log_softmax(dim=-1)
        return saved(logprobs_BTV.flatten(0, 1).numpy(), folder / f"{precision}.npy")

    return work


def saved(logprobs_NV, path: Path) -> dict[str, Any]:
    import numpy as np

    np.save(path, logprobs_NV)
    return {"path": str(path)}


MAKERS = {"decode": decode, "prefill": prefill, "prefix": prefix, "rollouts": rollouts, "quality": quality}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
    main()
