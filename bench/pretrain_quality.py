"""How long it takes to know as much as nanochat: time to its held-out bits per byte, on the same rows of the same corpus.

    ropewalk run recipes/docs.toml     # the corpus raced on, to its tokens
    ropewalk run recipes/tiny.toml     # the one on which rates are chosen
    python bench/pretrain_quality.py --nanochat nanochat --out bench/results/pretrain-quality.json

First both try as many factors of their learning rates (`FACTORS`), on the other corpus. Then, for each depth and seed, both
train with the best; the steps that ropewalk needs to come below what nanochat ends with are counted, in the same run, whose
warm-down is made for its own end and not for that moment. At last training steps of both are timed by turns. The ratio of
times is that of the steps times that of the steps' durations.

Both are compiled, have the same shape and read the same rows; nanochat's own loader would leave out what does not fit.
It takes an hour of idle cores. Runs that have ended are kept in OUT.part, and the same command carries on behind them.
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
from subprocess import Popen
from typing import Any

from harness import LEAST_ROUNDS, Target, answer, ask, compare, worker, write

WORKER = Path(__file__).with_name("pretrain_quality_worker.py")
SHAPE = {"width": 192, "context": 256, "rows": 8}
DEPTHS = (4, 6)
OURS, THEIRS = "ropewalk", "nanochat"
FACTORS = {OURS: (0.5, 1.0, 2.0, 4.0), THEIRS: (0.0625, 0.25, 1.0, 2.0)}  # nanochat's rule says the first
TIMED_STEPS = 5
LEAST_RATIO = 1.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanochat", type=Path, required=True, help="a checkout of nanochat at 92d63d4")
    parser.add_argument("--out", type=Path, required=True, help="where the result goes, JSON")
    parser.add_argument("--corpus", type=Path, default=Path("runs/docs"), help="a run with tokens and tokenizer, raced on")
    parser.add_argument("--other", type=Path, default=Path("runs/tiny"), help="another, on which rates are chosen")
    parser.add_argument("--steps", type=int, default=400, help="steps of a run")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each contestant at each depth")
    parser.add_argument("--rounds", type=int, default=5, help=f"rounds of timed steps, at least {LEAST_ROUNDS} to keep")
    arguments = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": f"{arguments.nanochat.resolve()}"}
    factors, trials = choose_rates(arguments, environment)
    results = [race(depth, factors, arguments, environment) for depth in DEPTHS]
    for result in results:
        result |= {"factors": factors, "trials": trials}
        result["notes"].append(
            "rates chosen of four each on another corpus: "
            + ", ".join(f"{name}'s times {factor:g}" for name, factor in factors.items())
        )
    write(results, arguments.out)
    arguments.out.with_name(arguments.out.name + ".part").unlink()


def choose_rates(arguments: argparse.Namespace, environment: Mapping[str, str]) -> tuple[dict[str, float], Any]:
    """The factor of each contestant's rates that ends lowest on the other corpus, and what all ended with."""
    shape = shape_of(arguments.other, DEPTHS[0], arguments)
    trials: dict[str, dict[float, float]] = {}
    for name, factors in FACTORS.items():
        with worker(WORKER, name, json.dumps(shape), environment=environment) as process:
            answer(process)
            trials[name] = {factor: run(process, name, shape, 0, factor, arguments)[-1][1] for factor in factors}
        print(name, trials[name], file=sys.stderr)
    return {name: min(ended, key=ended.__getitem__) for name, ended in trials.items()}, trials


def race(
    depth: int, factors: Mapping[str, float], arguments: argparse.Namespace, environment: Mapping[str, str]
) -> dict[str, Any]:
    """Train and time both at one depth."""
    shape = shape_of(arguments.corpus, depth, arguments)
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(worker(WORKER, name, json.dumps(shape), environment=environment)) for name in FACTORS
        }
        for process in workers.values():
            answer(process)
        curves = {
            name: [run(process, name, shape, seed, factors[name], arguments) for seed in range(arguments.seeds)]
            for name, process in workers.items()
        }
        tokens = TIMED_STEPS * shape["rows"] * shape["context"]
        result = compare(
            "pretrain",
            {name: lambda process=process: (ask(process, TIMED_STEPS), tokens)[1] for name, process in workers.items()},
            what=f"training steps on the docs corpus, depth {depth}, width {shape['width']}, {shape['rows']} rows of "
            f"{shape['context']} tokens, vocabulary {shape['vocabulary']:,}; nanochat 92d63d4",
            unit="tokens",
            targets=[Target(OURS, THEIRS, 1.0)],
            libraries=["torch"],
            rounds=arguments.rounds,
        )
    faster = [steps_needed(ours, theirs[-1][1]) for ours, theirs in zip(curves[OURS], curves[THEIRS], strict=True)]
    ratios = [arguments.steps / steps * result["targets"][0]["ratio"] for steps in faster]
    met = "met" if statistics.median(ratios) >= LEAST_RATIO else "missed"
    result["curves"], result["time_ratios"] = curves, ratios
    result["meets_targets"] &= met == "met"
    ends = {name: ", ".join(f"{curve[-1][1]:.4f}" for curve in runs) for name, runs in curves.items()}
    result["notes"] = [
        f"held-out bits per byte after {arguments.steps} steps, by seed: "
        + "; ".join(f"{name} {said}" for name, said in ends.items()),
        f"ropewalk is below nanochat's last after {', '.join(f'{steps:.0f}' for steps in faster)} steps: in time "
        f"{', '.join(f'{ratio:.2f}' for ratio in ratios)} times as fast; at least {LEAST_RATIO} asked: {met}",
    ]
    return result


def shape_of(run_folder: Path, depth: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """What a worker is told."""
    tokenizer = run_folder / "tokenizer"
    vocabulary = json.loads((run_folder / "tokens" / "manifest.json").read_text(encoding="utf-8"))["facts"]["vocabulary"]
    return {
        **SHAPE,
        "depth": depth,
        "vocabulary": vocabulary,
        "seeds": arguments.seeds,
        "tokens": str(run_folder / "tokens"),
        "tokenizer": str(tokenizer),
    }


def run(
    process: Popen[str], name: str, shape: Mapping[str, Any], seed: int, factor: float, arguments: argparse.Namespace
) -> list[list[float]]:
    """A run's curve of (step, held-out bits per byte), made or as it was kept."""
    kept = arguments.out.with_name(arguments.out.name + ".part")
    curves: dict[str, list[list[float]]] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    key = f"{name}, {shape['tokens']}, depth {shape['depth']}, seed {seed}, factor {factor:g}, {arguments.steps} steps"
    if key not in curves:
        assert process.stdin is not None
        process.stdin.write(json.dumps({"seed": seed, "factor": factor, "steps": arguments.steps}) + "\n")
        process.stdin.flush()
        curves[key] = answer(process)["curve"]
        kept.write_text(json.dumps(curves, indent=1), encoding="utf-8")
        print(f"{key}: {curves[key][-1][1]:.4f} bits a byte", file=sys.stderr)
    return curves[key]


def steps_needed(curve: list[list[float]], bits: float) -> float:
    """When a curve comes below `bits`, between two looks in proportion; infinite if it never does."""
    before = None
    for step, now in curve:
        if now <= bits:
            return step if before is None else before[0] + (step - before[0]) * (before[1] - bits) / (before[1] - now)
        before = (step, now)
    return float("inf")


if __name__ == "__main__":
    main()
