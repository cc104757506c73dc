"""Interrupt a stage in this process, as Ctrl-C would, at a moment it did not choose."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ropewalk.artifact import Artifact


def interrupted(run: Callable[[], Artifact], out: Path, *, after_steps: tuple[int, ...]) -> Artifact:
    """The artifact that `run` makes at `out`, when it is interrupted once so many steps stand in its metrics, and run again.

    Each time, not before there is a checkpoint.
    """

    def ring(*_: object) -> None:
        raise KeyboardInterrupt

    def watch(steps: int) -> None:
        part = out.with_name(out.name + ".part")
        metrics, checkpoint = part / "logs" / "metrics.jsonl", part / "scratch" / "checkpoint.safetensors"
        while not (checkpoint.exists() and metrics.exists() and metrics.read_bytes().count(b"\n") >= steps):
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, ring)
    try:
        for steps in after_steps:
            threading.Thread(target=watch, args=(steps,), daemon=True).start()
            try:
                run()
            except KeyboardInterrupt:
                continue
            raise AssertionError(f"it ended before it could be interrupted after {steps} steps")
        return run()
    finally:
        signal.signal(signal.SIGUSR1, before)
