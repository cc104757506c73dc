"""How native threads wait for each other. Call before the first import of torch."""

from __future__ import annotations

import os


def wait_politely() -> None:
    """Let OpenMP threads sleep at barriers instead of spinning, unless the user set `OMP_WAIT_POLICY` otherwise.

    On two cores with one other busy program, a training step whose threads spin took 2 to 4 times as long as one whose
    threads sleep (LOG.md, 2026-11-23).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
