"""What a piece of work takes: time, processor time, memory."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """What has been taken so far.

    cpu_seconds: of this process, all its threads. children_cpu_seconds: of its child processes that have ended.
    peak_bytes: the most memory that it held since it began. child_peak_bytes: the most that any one of those children did,
    but never less than this process held when it started the child (Linux counts what is thrown away there).
    """

    wall_seconds: float
    cpu_seconds: float
    children_cpu_seconds: float
    peak_bytes: int
    child_peak_bytes: int


def usage() -> Usage:
    """The usage of this process until now. Wall seconds count from any beginning: only differences mean something."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return Usage(
        time.monotonic(),
        own.ru_utime + own.ru_stime,
        children.ru_utime + children.ru_stime,
        own.ru_maxrss * unit,
        children.ru_maxrss * unit,
    )
