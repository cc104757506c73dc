"""Guess how a text goes on from where it said the same before (Saxena 2023, prompt lookup)."""

from __future__ import annotations

from collections.abc import Sequence

LOOKED_UP_TOKENS = (3, 2)  # how many of the last must have stood there before, the longer first


def guess(ids: Sequence[int], most_tokens: int) -> list[int]:
    """What followed the last ids when they occurred before, the latest time; nothing if they never did."""
    for count in LOOKED_UP_TOKENS:
        last = list(ids[-count:])
        for start in range(len(ids) - count - 1, -1, -1):
            if ids[start] == last[0] and list(ids[start : start + count]) == last:
                return list(ids[start + count : start + count + most_tokens])
    return []
