"""What untrusted code may use, and what came of running it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from ropewalk.runtime.errors import OptionError

LEAST_MEMORY_BYTES = 64_000_000

Backend = Literal["bubblewrap", "wasm"]
Ended = Literal["finished", "failed", "time", "memory", "output", "disk"]


@dataclass(frozen=True)
class Limits:
    """The most that one run may use."""

    seconds: float = 10.0
    """Time on the clock, the interpreter's start included."""
    memory_bytes: int = 256_000_000
    """Addresses that the interpreter may take, its own 30 MB included, at least 64 MB; files in /tmp come on top."""
    disk_bytes: int = 64_000_000
    """Bytes in /tmp, which is held in memory. WebAssembly has no place to write to at all."""
    files: int = 10_000
    """Files and folders in /tmp. They are counted 20 times a second, so that a fast writer gets somewhat further."""
    threads: int = 32
    """Threads, the first one included. Other processes cannot be started."""
    output_bytes: int = 1_000_000
    """Bytes of stdout and stderr together."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 < getattr(self, field.name) < math.inf:
                raise OptionError(f"{field.name} is {getattr(self, field.name)}: give a limit above 0, and not infinite")
        if self.memory_bytes < LEAST_MEMORY_BYTES:
            raise OptionError(
                f"memory_bytes is {self.memory_bytes:,}: give {LEAST_MEMORY_BYTES:,}, Python itself takes half"
            )


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    stdout, stderr: UTF-8, with U+FFFD where it was none. Untrusted: see `runtime.terminal` before printing them.
    exit_code: the process's own, 128 + N if signal N ended it, None if a limit made us kill it.
    ended: "finished" is exit code 0, "failed" any other; "memory" is an uncaught MemoryError; "time", "output" and "disk"
        are the limits at which the run was killed. Code can end itself with any exit code: only what it cannot know
        (a secret that it must print) shows that it ran to its end.
    """

    stdout: str
    stderr: str
    exit_code: int | None
    ended: Ended
    seconds: float
    backend: Backend
