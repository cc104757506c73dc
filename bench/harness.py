"""What every bench shares: interleaved rounds, the machine's own ceiling in each, one form of result, one page of them.

A bench is a script, `bench/ROOM.py --out bench/results/ROOM.json`, with contestants that do the same work. They take turns
within a round, each round in another order, so that a machine that slows down slows all of them. `python bench/harness.py`
prints docs/benchmarks.md from all results.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
GEMM_SIZE = 1536
COPY_BYTES = 256_000_000
LEAST_ROUNDS = 3


def parser_of(description: str | None, jobs: Sequence[str]) -> argparse.ArgumentParser:
    """The command line of a bench of several jobs on SmolLM2."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the result goes, JSON")
    parser.add_argument("--model", type=Path, help="SmolLM2 as 'ropewalk import' made it, if it is there already")
    parser.add_argument("--rounds", type=int, default=LEAST_ROUNDS, help=f"rounds, at least {LEAST_ROUNDS} to keep a result")
    parser.add_argument("--jobs", nargs="+", choices=jobs, default=list(jobs), help="what to measure")
    return parser


@dataclass(frozen=True)
class Target:
    """`ours` must be at least `least_ratio` times as fast as `peer`."""

    ours: str
    peer: str
    least_ratio: float


@dataclass(frozen=True)
class Ceiling:
    """What this machine can do at the time, so that a round on a busy machine shows."""

    gemm_gflop_per_second: float
    memory_gbyte_per_second: float


def compare(
    room: str,
    contestants: Mapping[str, Callable[[], float]],
    *,
    what: str,
    unit: str,
    targets: Sequence[Target],
    libraries: Sequence[str],
    rounds: int = LEAST_ROUNDS,
    clocks: Mapping[str, Callable[[], float]] | None = None,
) -> dict[str, Any]:
    """Let the contestants take turns and return the result as it is written.

    Args:
        contestants: by name; a call does the work once and returns how many `unit`s that was.
        libraries: distributions whose versions belong to the result.
        clocks: what tells a contestant's time, in seconds, where it is not the clock on the wall.
    """
    clocks = clocks or {}
    for work in contestants.values():
        work()  # caches, compilation, allocator: not what is measured
    names = list(contestants)
    done = []
    for number in range(rounds):
        turn = names[number % len(names) :] + names[: number % len(names)]
        rates = {name: _rate(contestants[name], clocks.get(name, time.perf_counter)) for name in turn}
        done.append({"ceiling": asdict(ceiling()), "rates": {name: rates[name] for name in names}})
        print(
            f"round {number + 1}/{rounds}: " + ", ".join(f"{name} {_number(rates[name])} {unit}/s" for name in names),
            file=sys.stderr,
        )
    return {
        "room": room,
        "what": what,
        "unit": f"{unit}/s",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "hardware": _hardware(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("ropewalk", *libraries)}},
        **summary(done, targets),
        "rounds": done,
    }


def summary(rounds: Sequence[Mapping[str, Any]], targets: Sequence[Target]) -> dict[str, Any]:
    """Medians, spreads, ratios and whether the targets are met.

    A ratio is the median of the rounds' ratios: both sides of it saw the same machine.
    """
    names = list(rounds[0]["rates"])
    rates = {name: [one["rates"][name] for one in rounds] for name in names}
    judged = []
    for target in targets:
        ratio = statistics.median(one["rates"][target.ours] / one["rates"][target.peer] for one in rounds)
        judged.append({**asdict(target), "ratio": round(ratio, 3), "met": ratio >= target.least_ratio})
    return {
        "median": {name: statistics.median(rates[name]) for name in names},
        "spread_fraction": {name: (max(rates[name]) - min(rates[name])) / statistics.median(rates[name]) for name in names},
        "targets": judged,
        "meets_targets": all(one["met"] for one in judged),
    }


def ceiling() -> Ceiling:
    """The best of three float32 matrix products and of three copies, all cores."""
    import torch

    a = torch.rand(GEMM_SIZE, GEMM_SIZE)
    source = torch.rand(COPY_BYTES // 4)
    target = torch.empty_like(source)
    gemm_seconds = min(_seconds(lambda: a @ a) for _ in range(3))
    copy_seconds = min(_seconds(lambda: target.copy_(source)) for _ in range(3))
    return Ceiling(round(2e-9 * GEMM_SIZE**3 / gemm_seconds, 1), round(2e-9 * COPY_BYTES / copy_seconds, 2))


def write(result: Mapping[str, Any] | Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write a result, or several of one bench, and say how the targets came out."""
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(out.name + ".draft")
    draft.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    draft.replace(out)
    for target in (target for one in _listed(result) for target in one["targets"]):
        said = "met" if target["met"] else "MISSED"
        print(f"{target['ours']} / {target['peer']}: {target['ratio']}, target {target['least_ratio']}: {said}")


@contextmanager
def worker(
    script: Path, *arguments: str, environment: Mapping[str, str] | None = None, python: Path | str = sys.executable
) -> Iterator[subprocess.Popen[str]]:
    """A contestant in a process of its own, which works when it is asked to and sleeps while others do."""
    command = [str(python), str(script), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[str], steps: int) -> dict[str, Any]:
    """Let a worker take so many steps. Returns what it says of them."""
    assert process.stdin is not None
    process.stdin.write(f"{steps}\n")
    process.stdin.flush()
    return answer(process)


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """A worker's next line that is JSON: libraries say other things too."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            with contextlib.suppress(json.JSONDecodeError):
                return json.loads(line)
    sys.exit(f"{' '.join(map(str, process.args))} ended: run it alone to see why")


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """docs/benchmarks.md: a table of all results, missed targets included."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make docs` from `bench/results/`; `make bench-ROOM` measures one anew. Rates are medians over rounds",
        "in which the contestants take turns; the spread is (most - least) / median; a ratio is the median of the rounds'",
        "ratios. Each result also holds the machine's own ceiling in every round.",
        "",
    ]
    if not results:
        return "\n".join([*lines, "Nothing is measured yet.", ""])
    for result in results:
        if "figures" in result:
            lines += _foretold(result)
            continue
        machine = result["hardware"]
        lines += [
            f"## {result['room']}: {result['what']}",
            "",
            f"{result['date']}, {machine['processor']}, {machine['cores']} cores, {len(result['rounds'])} rounds; "
            + ", ".join(f"{name} {number}" for name, number in result["versions"].items()),
            "",
            f"| | {result['unit']} | spread |",
            "|---|---:|---:|",
            *(
                f"| {name} | {_number(rate)} | {result['spread_fraction'][name]:.0%} |"
                for name, rate in result["median"].items()
            ),
            "",
            *(_judged(target) for target in result["targets"]),
            *(f"- {note}" for note in result.get("notes", ())),
            "",
        ]
    return "\n".join(lines)


def _foretold(result: Mapping[str, Any]) -> list[str]:
    """What was foretold and what it took."""
    verdict = "met" if result["meets_targets"] else "**missed**"
    return [
        f"## {result['room']}: {result['what']}",
        "",
        f"{result['sample_pages']:,} and {result['pages']:,} pages; "
        f"an error of at most {result['most_error']:.0%} asked: {verdict}",
        "",
        "| | foretold | taken | error |",
        "|---|---:|---:|---:|",
        *(
            f"| {name} | {one['foretold']:,.0f} | {one['taken']:,.0f} | {one['error']:+.1%} |"
            for name, one in result["figures"].items()
        ),
        "",
    ]


def read(folder: Path) -> list[Mapping[str, Any]]:
    """All results of a folder, in the order of their files' names."""
    paths = sorted(folder.glob("*.json"))
    return [result for path in paths for result in _listed(json.loads(path.read_text(encoding="utf-8")))]


def _listed(results: Any) -> list[Mapping[str, Any]]:
    return results if isinstance(results, list) else [results]


def _number(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def _judged(target: Mapping[str, Any]) -> str:
    verdict = "met" if target["met"] else "**missed**"
    said = f"{target['ours']} is {target['ratio']:.2f} times as fast as {target['peer']}"
    return f"- {said}; target {target['least_ratio']:.2f}: {verdict}"


def _rate(work: Callable[[], float], clock: Callable[[], float]) -> float:
    started = clock()
    amount = work()
    return amount / (clock() - started)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _hardware() -> dict[str, Any]:
    import psutil

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "load_before": round(os.getloadavg()[0], 2),
        "platform": platform.platform(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.stdout.write(page(read(RESULTS)))
