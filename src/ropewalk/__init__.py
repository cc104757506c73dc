"""ropewalk: raw web pages in, a chat model that people can verify out.

The package is a line of rooms; a room imports only rooms to its left, and a test holds that order:

    runtime < artifact < config < crawl < corpus < tokenizer < model < engine < pretrain < evaluate < serve < cli

Rooms meet on disk: each reads and writes artifacts (`ropewalk.artifact`), so any step can be redone, replaced or
inspected alone. A room's `__init__.py` is its door: its options and its `run`.
"""

__version__ = "0.1.0"
