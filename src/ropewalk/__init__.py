"""ropewalk: raw web pages in, a chat model that people can verify out.

The package is a line of rooms; a room imports only rooms to its left, and a test holds that order:

    runtime < artifact < config < sandbox < atlas < crawl < corpus < tokenizer < trace < model < engine < pretrain < evaluate
        < posttrain < serve < cli

Rooms meet on disk: each reads and writes artifacts (`ropewalk.artifact`), so any step can be redone, replaced or
inspected alone. A room's `__init__.py` is its door: its options and its `run`. `ropewalk.api` has every verb as a function:

    import ropewalk

    corpus = ropewalk.api.corpus("runs/mine/corpus", pages="runs/mine/pages")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from ropewalk import api

__all__ = ["__version__", "api"]
__version__ = "0.1.0"


def __getattr__(name: str) -> ModuleType:
    """Import `api` when it is first asked for: it opens the doors of all rooms."""
    if name == "api":
        from importlib import import_module

        return import_module("ropewalk.api")
    raise AttributeError(f"module 'ropewalk' has no attribute {name!r}")
