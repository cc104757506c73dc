"""A contestant of bench/evaluate.py in a process of its own: it judges its items whenever it is asked to.

    python bench/evaluate_worker.py CONTESTANT JOB FOLDER BATCH_SIZE

Prints a line when it is ready, then answers each number with the seconds it took to judge all items so often, what it found
and the most memory so far.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

Pairs = list[tuple[str, str]]


def main() -> None:
    from ropewalk.runtime.threads import wait_politely

    wait_politely()
    contestant, job, folder, batch = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    items = [[(context, ending) for context, ending in item] for item in json.loads((folder / f"{job}.json").read_bytes())]
    judge = ours(folder / "model") if contestant == "ropewalk" else theirs(folder / "model", batch)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        started, nats = time.perf_counter(), []
        for _ in range(int(line)):
            nats = judge(items)
        seconds = time.perf_counter() - started
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
        print(json.dumps({"items": len(items), "seconds": seconds, "nats": nats, "peak_mb": peak_mb}), flush=True)


def ours(folder: Path) -> Callable[[list[Pairs]], list[float]]:
    """The scorer, on the engine's model."""
    from ropewalk.engine.load import load_engine
    from ropewalk.evaluate.harness import judged

    engine = load_engine(folder, slots=1)

    def judge(items: list[Pairs]) -> list[float]:
        found = judged(engine, items, opening=[], start=0, silent=True)
        return [one.nats for item in found for one in item]

    return judge


def theirs(folder: Path, batch: int) -> Callable[[list[Pairs]], list[float]]:
    """lm-evaluation-harness' own model of transformers."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=batch)

    def judge(items: list[Pairs]) -> list[float]:
        requests = [
            Instance("loglikelihood", {}, pair, place, ("bench", number, 1))
            for number, item in enumerate(items)
            for place, pair in enumerate(item)
        ]
        return [nats for nats, _ in model.loglikelihood(requests, disable_tqdm=True)]

    return judge


if __name__ == "__main__":
    main()
