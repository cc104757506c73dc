"""Conversations packed into rows, and the order in which rows are read: a pure function of (tokens digest, seed, epoch).

Rows hold whole conversations, best fit first, so that little is padding and nothing is thrown away; each conversation has
positions from 0 and, by its number in the row, sees only itself. Epochs are shuffled and packed anew, then laid end to end.

Shapes: B rows, T context tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ropewalk.model.rows import Rows, Stretch, lay_out, pack
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.seeds import generator
from ropewalk.tokenizer.shards import TokenReader


@dataclass(frozen=True)
class Conversations:
    """What is to be learned of some conversations.

    first: where each begins in the tokens. inputs: how many ids are read for its last learned target, so that what
    follows that one is left out. cut: how many were longer than a row. without: how many are left out, because they hold
    nothing to learn within a row, or are too long and were not to be cut.
    """

    first: np.ndarray
    inputs: np.ndarray
    cut: int
    without: int


def conversations(
    reader: TokenReader, rows: np.ndarray, *, context_tokens: int, too_long: Literal["cut", "drop"]
) -> Conversations:
    """The conversations at `rows` of the document index, as far as a row of `context_tokens` has room for them."""
    first, inputs, cut = [], [], 0
    for row in rows:
        start, tokens = int(reader.documents[row]["first_token"]), int(reader.documents[row]["tokens"])
        learned = np.flatnonzero(reader.read_mask(start, tokens)[1:]) + 1  # the first token has nothing before it
        within = learned[learned <= context_tokens]
        longer = len(within) < len(learned)
        if len(within) and not (longer and too_long == "drop"):
            first.append(start)
            inputs.append(int(within[-1]))
            cut += longer
    return Conversations(np.array(first, np.int64), np.array(inputs, np.int64), cut, len(rows) - len(first))


def rows_of(reader: TokenReader, chosen: Conversations, packed: Sequence[Sequence[int]], *, shape: tuple[int, int]) -> Rows:
    """Rows (B, T) with these conversations in them, the rest padding."""

    def read(item: int) -> list[Stretch]:
        first, count = int(chosen.first[item]), int(chosen.inputs[item])
        return [Stretch(reader.read(first, count + 1), reader.read_mask(first, count + 1))]

    return lay_out(packed, read, shape=shape)


class PackedOrder:
    """The training conversations of a tokens artifact as an endless stream of packed rows."""

    def __init__(
        self, reader: TokenReader, *, seed: int, rows: int, context_tokens: int, too_long: Literal["cut", "drop"] = "cut"
    ) -> None:
        """Look through the masks. Raises InputError where nothing is to be learned."""
        self.reader, self.seed, self.shape = reader, seed, (rows, context_tokens)
        train = np.flatnonzero(reader.documents["held_out"] == 0)
        self.train = conversations(reader, train, context_tokens=context_tokens, too_long=too_long)
        if len(self.train.first) == 0:
            raise InputError(
                f"none of the {len(train)} training conversations has anything to learn in {context_tokens} tokens: "
                "bring others, or take longer rows"
            )
        self._epochs: list[list[list[int]]] = []

    def steps(self, epochs: float) -> int:
        """How many steps read all conversations `epochs` times."""
        whole = int(epochs)
        rows = sum(len(self._epoch(number)) for number in range(whole)) + (epochs - whole) * len(self._epoch(whole))
        return max(1, -int(-rows // self.shape[0]))

    def batch(self, step: int) -> Rows:
        """What step `step` (from 0) reads."""
        first = step * self.shape[0]
        packed = [self._row(index) for index in range(first, first + self.shape[0])]
        return rows_of(self.reader, self.train, packed, shape=self.shape)

    def _row(self, index: int) -> list[int]:
        number = 0
        while index >= len(self._epoch(number)):
            index -= len(self._epoch(number))
            number += 1
        return self._epoch(number)[index]

    def _epoch(self, number: int) -> list[list[int]]:
        """The rows of an epoch: conversations shuffled, packed, and the rows shuffled, as early ones are the fullest."""
        while number >= len(self._epochs):
            draws = generator("packed order", self.reader.digest, self.seed, len(self._epochs))
            order = draws.permutation(len(self.train.first))
            packed = pack(self.train.inputs[order].tolist(), self.shape[1])
            self._epochs.append([[int(order[i]) for i in packed[row]] for row in draws.permutation(len(packed))])
        return self._epochs[number]
