"""The tokenizer's loops, compiled by numba and kept on disk, beside this file or in the user's cache.

numba sees whether a function's own file has changed, but not whether one has that it calls. So what is kept lies in a folder
named after the sources of all loops and numba's version.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numba
from numba.core import config

from ropewalk.runtime.machine import cache_folder
from ropewalk.runtime.progress import say

MODULES = ("splitting", "table", "counting", "merging", "encoder")


def compiled(function: Callable[..., Any], *, inline: Literal["always", "never"] = "never") -> Any:
    """Compile a function when it is first called, keep it on disk, and leave Python's lock while it runs."""
    folder = kept_in()
    if folder is None:
        return numba.njit(nogil=True, inline=inline)(function)
    before = getattr(config, "CACHE_DIR")  # noqa: B009  numba makes it as it loads, so that type checkers do not see it
    setattr(config, "CACHE_DIR", str(folder))  # noqa: B010  read when a function is declared, and only then
    try:
        return numba.njit(cache=True, nogil=True, inline=inline)(function)
    finally:
        setattr(config, "CACHE_DIR", before)  # noqa: B010


inlined = partial(compiled, inline="always")


@cache
def kept_in() -> Path | None:
    """The folder of what these sources compile to; None if there is no place for it."""
    here = Path(__file__).parent
    sources = [(here / f"{name}.py").read_bytes() for name in MODULES]
    name = f"loops-{hashlib.sha256(b''.join([numba.__version__.encode(), *sources])).hexdigest()[:16]}"
    for find in (lambda: here / "__pycache__", cache_folder):
        try:
            parent = find()
            (parent / name).mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError):  # not to be written; a user without a home
            continue
        if os.access(parent / name, os.W_OK):
            for older in parent.glob("loops-*"):
                if older.name != name and parent.name == "__pycache__":  # other versions may share the user's cache
                    shutil.rmtree(older, ignore_errors=True)
            return parent / name
    return None


@cache
def announce() -> None:
    """Say, before the first loop runs, that it will take a while, if it will."""
    folder = kept_in()
    if folder is None or not any(folder.rglob("*.nbi")):
        often = "each time, since nothing can be kept here" if folder is None else "once on this machine"
        say(f"compiling the tokenizer's loops, {often}: some 15 s")
