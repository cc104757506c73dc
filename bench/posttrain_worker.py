"""ropewalk's part of bench/posttrain.py in a process of its own: it takes steps when it is asked to.

    python bench/posttrain_worker.py JOB plain FOLDER

Prints a line when it is ready, then reads numbers of steps and answers each with the seconds of their parts, the real tokens
that were read and the most memory so far.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ADAMW_RATE = 1e-5
SFT_ROWS = (5, 256)  # five full rows hold about eight conversations


class Clock:
    """Seconds by part of a step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - started

    def taken(self) -> dict[str, float]:
        taken, self.seconds = dict(self.seconds), defaultdict(float)
        return taken


Learn = Callable[[int], int]
"""Leave a step's gradients in the weights. Returns how many real tokens it read."""


def main() -> None:
    from ropewalk.runtime.threads import wait_politely

    wait_politely()
    job, _, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    clock, number = Clock(), 0
    model, learn = MAKERS[job](folder, clock)
    move = optimizer_step(model, clock)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        tokens = 0
        for _ in range(int(line)):
            tokens += learn(number)
            move()
            number += 1
        said = {"seconds": clock.taken(), "tokens": tokens, "peak_mb": peak_mb()}
        print(json.dumps(said), flush=True)


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000


def optimizer_step(model, clock: Clock) -> Callable[[], None]:
    """What the loop does once the gradients are there."""
    import torch

    from ropewalk.posttrain import SftOptions
    from ropewalk.pretrain.optimizer import optimizer_for

    rates = SftOptions(model=Path(), tokens=Path())
    optimizer = optimizer_for(model, rates, adamw_rate=ADAMW_RATE)

    def move() -> None:
        with clock.part("optimizer"):
            torch.nn.utils.get_total_norm([weight.grad for weight in model.parameters()]).item()
            optimizer.step(rate_fraction=1.0, momentum=0.95)

    return move


def sft(folder: Path, clock: Clock):
    from ropewalk.model.checkpoint import load_model
    from ropewalk.posttrain.packing import PackedOrder
    from ropewalk.posttrain.sft import rows_of_a_pass
    from ropewalk.pretrain.loop import learn_rows
    from ropewalk.tokenizer.shards import TokenReader

    model = load_model(folder / "model")
    rows, context_tokens = SFT_ROWS
    order = PackedOrder(TokenReader(folder / "tokens"), seed=0, rows=rows, context_tokens=context_tokens)
    pass_rows = rows_of_a_pass(model, order.shape)

    def learn(step: int) -> int:
        with clock.part("forward and backward"):
            return learn_rows(model, order.batch(step), pass_rows=pass_rows).tokens

    return model, learn


def dpo(folder: Path, clock: Clock):
    from ropewalk.model.checkpoint import load_model
    from ropewalk.posttrain import DpoOptions
    from ropewalk.posttrain.dpo import pair_losses
    from ropewalk.posttrain.judged import read_pairs
    from ropewalk.posttrain.prefer import learn_judged
    from ropewalk.posttrain.preference import BETAS
    from ropewalk.posttrain.sequences import answered, logprobs
    from ropewalk.tokenizer.encoding import Tokenizer

    model, tokenizer = load_model(folder / "model"), Tokenizer.load(folder / "model")
    options = DpoOptions(model=folder / "model", preferences=folder / "pairs.jsonl", loss="sigmoid")
    pairs = [
        [answered(tokenizer, pair.prompt, side) for side in (pair.chosen, pair.rejected)]
        for pair in read_pairs(options.preferences)
    ]

    def learn(step: int) -> int:
        sequences = [one for pair in pairs[4 * step % len(pairs) :][:4] for one in pair]
        with clock.part("reference"):
            reference_S = logprobs(model, sequences)  # as good as another model's: what it costs is what counts here
        with clock.part("forward and backward"):
            learn_judged(
                model,
                sequences,
                reference_S,
                lambda said, part: pair_losses(said, options, BETAS["sigmoid"]).sum(),
                together=2,
                count=4,
            )
        return sum(len(one.ids) for one in sequences)

    return model, learn


def grpo(folder: Path, clock: Clock, reward=None):
    from ropewalk.engine.load import load_engine
    from ropewalk.evaluate.questions import read_questions
    from ropewalk.posttrain import GrpoOptions
    from ropewalk.posttrain.grpo import Trainer
    from ropewalk.posttrain.rollout import tasks_of

    engine = load_engine(folder / "model", slots=16)
    options = GrpoOptions(model=folder / "model", tasks=folder / "sums.jsonl", prompts=4, samples=4, max_tokens=48)
    tasks = tasks_of(engine.tokenizer, read_questions(options.tasks), context_tokens=engine.model.config.context_tokens)
    reward = reward or right

    def judge(attempts):
        return [reward(one.made.text, int(one.task.question.accept[0])) for one in attempts]

    trainer = Trainer(engine, tasks, options, judge=judge, before={})
    take = trainer.take

    def taken(groups) -> None:  # generation ends where a step takes its answers
        clock.seconds["generation"] += time.perf_counter() - started[0]
        started[0] = time.perf_counter()
        take(groups)

    started = [0.0]
    trainer.take = taken

    def learn(step: int) -> int:
        started[0] = time.perf_counter()
        tokens = trainer.learn(step).tokens
        clock.seconds["forward and backward"] += time.perf_counter() - started[0]
        return tokens

    return engine.model, learn


def last_number(text: str) -> int | None:
    found = re.findall(r"\d{1,6}", text)
    return int(found[-1]) if found else None


def right(text: str, expected: int) -> float:
    """1 for an answer whose last number is the sum."""
    return float(last_number(text) == expected)


def close(text: str, expected: int) -> float:
    """The closer the better, and the shorter: hardly two answers earn the same."""
    number = last_number(text)
    return (1 / (1 + abs(number - expected)) if number is not None else 0.0) - len(text) / 1000


MAKERS = {
    "sft": sft,
    "dpo": dpo,
    "grpo": grpo,
    "grpo, close": lambda folder, clock: grpo(folder, clock, close),
}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
    main()
