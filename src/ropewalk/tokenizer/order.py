"""The order in which training tokens are read: a pure function of (tokens digest, seed, step).

All training documents are laid end to end in an order drawn anew for each epoch, and step s reads the s-th piece of that
stream. Nothing is cropped, padded or dropped, a resumed run continues at its step without any saved state, and what a
model had read by step N is a replay.

Shapes: B rows, T context tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ropewalk.runtime.errors import InputError
from ropewalk.runtime.seeds import generator
from ropewalk.tokenizer.shards import TokenReader


@dataclass(frozen=True)
class Batch:
    """What one step reads: inputs and the tokens that follow them, int64 (B, T), and a mask of the targets that count."""

    ids_BT: np.ndarray
    targets_BT: np.ndarray
    mask_BT: np.ndarray


@dataclass(frozen=True)
class _Epoch:
    number: int
    documents: np.ndarray  # rows of the document index, in reading order
    ends: np.ndarray  # where each of them ends in the epoch's stream


class ReadingOrder:
    """The training documents of a tokens artifact as an endless stream."""

    def __init__(self, reader: TokenReader, *, seed: int, rows: int, context_tokens: int) -> None:
        self.reader, self.seed, self.rows, self.context_tokens = reader, seed, rows, context_tokens
        self.train = np.flatnonzero(reader.documents["held_out"] == 0)
        self.epoch_tokens = int(reader.documents["tokens"][self.train].sum(dtype=np.int64))
        if self.epoch_tokens == 0:
            raise InputError("there are no training tokens: the corpus is empty, or all of it is held out")
        self._epoch = self._shuffled(0)

    @property
    def step_tokens(self) -> int:
        return self.rows * self.context_tokens

    def batch(self, step: int) -> Batch:
        """What step `step` (from 0) reads: B rows that continue one another in the stream."""
        B, T = self.rows, self.context_tokens
        ids, mask = self._read(step * B * T, B * T + 1)
        return Batch(ids[:-1].reshape(B, T), ids[1:].reshape(B, T), mask[1:].reshape(B, T))

    def documents_read(self, steps: int) -> Iterator[int]:
        """Rows of the document index read in the first `steps` steps, in order; an unfinished document counts."""
        end = steps * self.step_tokens
        for number in range(-(-end // self.epoch_tokens)):
            epoch = self._shuffled(number)
            begins = number * self.epoch_tokens + np.concatenate(([0], epoch.ends[:-1]))
            yield from epoch.documents[begins < end].tolist()

    def _read(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """`count` tokens of the stream from position `start`, and whether each is to be learned."""
        ids, mask = np.empty(count, np.int64), np.empty(count, np.bool_)
        filled = 0
        while filled < count:
            number, offset = divmod(start + filled, self.epoch_tokens)
            if number != self._epoch.number:
                self._epoch = self._shuffled(number)
            place = int(np.searchsorted(self._epoch.ends, offset, side="right"))
            row = self.reader.documents[self._epoch.documents[place]]
            into_document = offset - (int(self._epoch.ends[place]) - int(row["tokens"]))
            piece = min(int(row["tokens"]) - into_document, count - filled)
            first = int(row["first_token"]) + into_document
            ids[filled : filled + piece] = self.reader.read(first, piece)
            mask[filled : filled + piece] = self.reader.read_mask(first, piece)
            filled += piece
        return ids, mask

    def _shuffled(self, number: int) -> _Epoch:
        order = generator("reading order", self.reader.digest, self.seed, number).permutation(len(self.train))
        documents = self.train[order]
        return _Epoch(number, documents, np.cumsum(self.reader.documents["tokens"][documents], dtype=np.int64))
