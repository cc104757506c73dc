"""What this machine is: system, cores, memory, disk, compiler, accelerator."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Literal

System = Literal["Linux", "WSL", "macOS", "other"]


def system() -> System:
    """The operating system, as far as it matters for what to install."""
    if sys.platform == "darwin":
        return "macOS"
    if not sys.platform.startswith("linux"):
        return "other"
    return "WSL" if "microsoft" in platform.release().lower() else "Linux"


def cores() -> int:
    """Cores that this process may use: containers and job schedulers often grant fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> tuple[int, int]:
    """Memory in all and free, the smaller of the machine's and the container's."""
    import psutil

    memory = psutil.virtual_memory()
    limit_bytes = _container_limit_bytes()
    if limit_bytes is None or limit_bytes > memory.total:
        return memory.total, memory.available
    return limit_bytes, min(memory.available, limit_bytes)


def _container_limit_bytes() -> int | None:
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        return int(text) if text.isdigit() else None
    return None


def nearest_existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that is there already."""
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    return existing


def disk_free_bytes(path: Path) -> int:
    """Free disk where `path` is, or will be."""
    return shutil.disk_usage(nearest_existing(path)).free


def cache_folder() -> Path:
    """The user's folder for what can be made again; not made here.

    Raises:
        RuntimeError: a user without a home.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "ropewalk").expanduser()


def can_compile() -> bool:
    """Whether torch.compile can build what it generates: a C++ compiler and Python's headers."""
    return cxx_compiler() is not None and (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file()


def cxx_compiler() -> str | None:
    """The C++ compiler that torch.compile would call, None if there is none."""
    named = os.environ.get("CXX")
    for name in named.split()[:1] if named else ["g++", "clang++", "c++"]:
        if found := shutil.which(name):
            return found
    return None
