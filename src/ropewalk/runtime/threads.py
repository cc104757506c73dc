"""How native threads wait for each other. Call before the first import of torch."""

from __future__ import annotations

import os

SPINS = 5_000  # some tenths of a millisecond


def wait_politely() -> None:
    """Let OpenMP threads spin at barriers for a moment and then sleep, unless the user set how they wait.

    GNU's OpenMP spins for milliseconds by default: on two cores with one other busy program, a training step took 4 to 8
    times as long as with threads that sleep at once. These take 1.3 times as long as spinning ones on an idle machine. With
    this many spins a step is as fast as either when it is fast, within a tenth (LOG.md, 2026-11-23 and 2026-11-26).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
