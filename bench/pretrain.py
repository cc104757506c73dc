"""Training steps beside nanochat's and a plain transformers + AdamW loop.

    git clone https://github.com/karpathy/nanochat && git -C nanochat checkout 92d63d4
    python bench/pretrain.py --nanochat nanochat --out bench/results/pretrain.json

"ropewalk" is the `speed` preset, the same mathematics as nanochat's model: from the same weights both must give the same
loss before anything is timed. Both are compiled, as both are by default. "ropewalk, portable" and "transformers" are a
Qwen3 of the same depth and width; transformers' is the plain loop that one would write by hand. Each contestant is a process
of its own (`bench/pretrain_worker.py`), with as many threads as this machine has cores, and sleeps while others train.

Memory is the most that a process ever held, over five steps with a vocabulary of 32,768.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harness import LEAST_ROUNDS, Target, answer, ask, compare, worker, write

SHAPE = {"depth": 4, "width": 256, "context": 512, "rows": 8, "vocabulary": 8_192}
LARGE_VOCABULARY = 32_768
STEPS = 3
LEAST_RATIO = 1.25
MOST_MEMORY_RATIO = 0.5
LEAST_GEMM_FRACTION = 0.62
WORKER = Path(__file__).with_name("pretrain_worker.py")
CONTESTANTS = ("ropewalk", "nanochat", "ropewalk, portable", "transformers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanochat", type=Path, required=True, help="a checkout of nanochat at 92d63d4")
    parser.add_argument("--out", type=Path, required=True, help="where the result goes, JSON")
    parser.add_argument("--rounds", type=int, default=5, help=f"rounds, at least {LEAST_ROUNDS} for a result to keep")
    parser.add_argument("--depth", type=int, default=SHAPE["depth"], help="layers")
    arguments = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": f"{arguments.nanochat.resolve()}"}
    shape = {**SHAPE, "depth": arguments.depth}
    result = race(shape, environment, rounds=arguments.rounds)
    result["notes"] += [memory(shape, environment)]
    result["meets_targets"] &= not any(note.endswith("missed") for note in result["notes"])
    write(result, arguments.out)


def race(shape: Mapping[str, int], environment: Mapping[str, str], *, rounds: int) -> dict[str, Any]:
    """Check that both give the same loss, then time them."""
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(worker(WORKER, name, json.dumps(shape), environment=environment))
            for name in CONTESTANTS
        }
        ready = {name: answer(process) for name, process in workers.items()}
        ours, theirs = ready["ropewalk"]["losses"][0], ready["nanochat"]["losses"][0]
        if abs(ours - theirs) > 1e-4:
            sys.exit(f"ropewalk's first loss is {ours}, nanochat's {theirs}: there is nothing to compare")
        tokens = STEPS * shape["rows"] * shape["context"]
        result = compare(
            "pretrain",
            {name: lambda process=process: (ask(process, STEPS), tokens)[1] for name, process in workers.items()},
            what=f"training steps, depth {shape['depth']}, width {shape['width']}, {shape['rows']} rows of "
            f"{shape['context']} tokens, vocabulary {shape['vocabulary']:,}; nanochat 92d63d4",
            unit="tokens",
            targets=[Target("ropewalk", "nanochat", LEAST_RATIO)],
            libraries=["torch", "transformers"],
            rounds=rounds,
        )
    first = ", ".join(f"{name} {one['first_steps_seconds']} s" for name, one in ready.items())
    result["notes"] = [
        gemm_share(result, shape),
        f"the first two steps, compilation included where it was not cached: {first}",
    ]
    return result


def gemm_share(result: Mapping[str, Any], shape: Mapping[str, int]) -> str:
    """What share of the machine's own rate of matrix products the steps come to, by the mathematics' operations."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
    from pretrain_worker import config_of

    from ropewalk.model.config import speed

    config = config_of(dict(shape), speed)
    attention = 12 * config.layers * config.width * config.context_tokens  # as nanochat counts it, the whole square
    operations = 6 * config.matrix_parameters + attention
    shares = {
        name: statistics.median(
            one["rates"][name] * operations / 1e9 / one["ceiling"]["gemm_gflop_per_second"] for one in result["rounds"]
        )
        for name in ("ropewalk", "nanochat")
    }
    met = "met" if shares["ropewalk"] >= LEAST_GEMM_FRACTION else "missed"
    said = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return f"share of the round's own rate of matrix products: {said}; at least {LEAST_GEMM_FRACTION:.0%} asked: {met}"


def memory(shape: Mapping[str, int], environment: Mapping[str, str]) -> str:
    """The peaks with a large vocabulary."""
    large, peaks = {**shape, "vocabulary": LARGE_VOCABULARY}, {}
    for name in ("ropewalk", "nanochat"):
        with worker(WORKER, name, json.dumps(large), environment=environment) as process:
            answer(process)
            peaks[name] = ask(process, STEPS)["peak_mb"]
    ratio = peaks["ropewalk"] / peaks["nanochat"]
    met = "met" if ratio <= MOST_MEMORY_RATIO else "missed"
    said = ", ".join(f"{name} {peak:,} MB" for name, peak in peaks.items())
    return (
        f"most memory at a vocabulary of {LARGE_VOCABULARY:,}: {said}; {ratio:.2f}, at most {MOST_MEMORY_RATIO} asked: {met}"
    )


if __name__ == "__main__":
    main()
