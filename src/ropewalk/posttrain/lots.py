"""Which rows of a file are held back, and in which order the others come: by lot, and the same whatever else is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ropewalk.runtime.seeds import derive_seed, generator

Row = TypeVar("Row")


def split(rows: Sequence[Row], held_back: int, *, name: Callable[[Row], str]) -> tuple[list[Row], list[Row]]:
    """Rows to train on and rows held back, half of all at most; by the hash of their names, whatever else is in the file."""
    by_lot = sorted(rows, key=lambda row: derive_seed("held back", name(row)))
    chosen = {name(row) for row in by_lot[: min(held_back, len(rows) // 2)]}
    return [row for row in rows if name(row) not in chosen], [row for row in rows if name(row) in chosen]


def drawn(rows: Sequence[Row], step: int, *, count: int, seed: int) -> list[Row]:
    """The `count` rows of a step (from 0): each once an epoch, in an order drawn anew for every epoch."""
    places = range(step * count, (step + 1) * count)
    orders = {
        number: generator("task order", seed, number).permutation(len(rows))
        for number in {place // len(rows) for place in places}
    }
    return [rows[int(orders[place // len(rows)][place % len(rows)])] for place in places]
