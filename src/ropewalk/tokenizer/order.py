"""The order in which training tokens are read: a pure function of (tokens digest, seed, shape of a batch, step).

All training documents are laid end to end in an order drawn anew for each epoch. The stream is cut into rows of T tokens and
steps take rows in a drawn order too, so that the rows of a batch come from different documents: a batch of neighbours is
nearly one sample, and learned far less from (LOG.md, 2026-11-23). Nothing is cropped, padded or dropped, a resumed run
continues at its step without any saved state, and what a model had read by step N is a replay.

Shapes: B rows, T context tokens.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
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
    documents: np.ndarray  # rows of the document index, in reading order
    ends: np.ndarray  # where each of them ends in the epoch's stream


class ReadingOrder:
    """The training documents of a tokens artifact as an endless stream, cut into rows."""

    def __init__(self, reader: TokenReader, *, seed: int, rows: int, context_tokens: int) -> None:
        self.reader, self.seed, self.rows, self.context_tokens = reader, seed, rows, context_tokens
        self.train = np.flatnonzero(reader.documents["held_out"] == 0)
        self.epoch_tokens = int(reader.documents["tokens"][self.train].sum(dtype=np.int64))
        if self.epoch_tokens == 0:
            raise InputError("there are no training tokens: the corpus is empty, or all of it is held out")
        self.epoch_rows = max(1, self.epoch_tokens // context_tokens)
        self._epochs: dict[int, _Epoch] = {}
        self._rows: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    @property
    def step_tokens(self) -> int:
        return self.rows * self.context_tokens

    def epochs(self, steps: int) -> float:
        """How often the training documents are read in `steps` steps."""
        return steps * self.step_tokens / self.epoch_tokens

    def batch(self, step: int) -> Batch:
        """What step `step` (from 0) reads."""
        return stacked([self.row(step * self.rows + b) for b in range(self.rows)])

    def row(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """The `row`-th row to be read: T + 1 ids, the last of them only a target, and whether each is to be learned."""
        return self._read(self.row_start(row), self.context_tokens + 1)

    def row_start(self, row: int) -> int:
        """Where in the stream the `row`-th row to be read starts. Rows are shuffled within each pass of `epoch_rows`."""
        number, index = divmod(row, self.epoch_rows)
        return (number * self.epoch_rows + int(self._row_order(number)[index])) * self.context_tokens

    def documents_read(self, steps: int) -> Iterator[int]:
        """Rows of the document index in the order in which the first `steps` steps come upon them.

        A document is named once an epoch, when the first of its tokens is read.
        """
        yield from self.documents_in_rows(steps * self.rows)

    def documents_in_rows(self, rows: int) -> Iterator[int]:
        """The same for the first `rows` rows."""
        seen: set[tuple[int, int]] = set()
        for row in range(rows):
            for epoch, document, _, _ in self._pieces(self.row_start(row), self.context_tokens):
                if (epoch, document) not in seen:
                    seen.add((epoch, document))
                    yield document

    def first_step(self, document: int, steps: int) -> int | None:
        """The fewest steps after which a row of the document index has been come upon; None if `steps` are too few."""
        row = self.first_row(document, steps * self.rows)
        return None if row is None else row // self.rows + 1

    def first_row(self, document: int, rows: int) -> int | None:
        """Which of the first `rows` rows, from 0, is the first to hold a token of a document: no replay, but a lookup."""
        if not np.any(self.train == document):
            return None
        first, epoch, earliest = rows, 0, 0
        # Passes are a little shorter than epochs: where two epochs meet in one pass, the later one's row may be the first.
        # No row of an epoch comes before the pass in which it begins.
        while earliest < first:
            first = min(first, *self._rows_holding(epoch, document))
            epoch += 1
            earliest = epoch * self.epoch_tokens // self.context_tokens // self.epoch_rows * self.epoch_rows
        return first if first < rows else None

    def _rows_holding(self, number: int, document: int) -> Iterator[int]:
        """The rows that read a document as it stands in an epoch."""
        epoch = self._epoch(number)
        end = number * self.epoch_tokens + int(epoch.ends[int(np.flatnonzero(epoch.documents == document)[0])])
        start = end - int(self.reader.documents[document]["tokens"])
        for block in range(start // self.context_tokens, (end - 1) // self.context_tokens + 1):
            number_of_pass, index = divmod(block, self.epoch_rows)
            order = self._row_order(number_of_pass)
            yield number_of_pass * self.epoch_rows + int(np.flatnonzero(order == index)[0])

    def _read(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """`count` tokens of the stream from position `start`, and whether each is to be learned."""
        pieces = [(first, size) for _, _, first, size in self._pieces(start, count)]
        ids = np.concatenate([self.reader.read(first, size) for first, size in pieces])
        mask = np.concatenate([self.reader.read_mask(first, size) for first, size in pieces])
        return ids.astype(np.int64), mask.astype(np.bool_)

    def _pieces(self, start: int, count: int) -> Iterator[tuple[int, int, int, int]]:
        """The parts of documents that make up a stretch of the stream: (epoch, document, first token, tokens)."""
        position = start
        while position < start + count:
            number, offset = divmod(position, self.epoch_tokens)
            epoch = self._epoch(number)
            place = int(np.searchsorted(epoch.ends, offset, side="right"))
            document = int(epoch.documents[place])
            entry = self.reader.documents[document]
            into_document = offset - (int(epoch.ends[place]) - int(entry["tokens"]))
            size = min(int(entry["tokens"]) - into_document, start + count - position)
            yield number, document, int(entry["first_token"]) + into_document, size
            position += size

    def _epoch(self, number: int) -> _Epoch:
        """The documents' order in an epoch; two are kept, since a row or a pass can reach from one into the next."""
        if number not in self._epochs:
            documents = self.train[self._generator("documents", number).permutation(len(self.train))]
            ends = np.cumsum(self.reader.documents["tokens"][documents], dtype=np.int64)
            self._epochs = {key: epoch for key, epoch in self._epochs.items() if key == number - 1}
            self._epochs[number] = _Epoch(documents, ends)
        return self._epochs[number]

    def _row_order(self, number: int) -> np.ndarray:
        """In which order a pass takes the rows of its stretch of the stream."""
        if number != self._rows[0]:
            self._rows = (number, self._generator("rows", number).permutation(self.epoch_rows))
        return self._rows[1]

    def _generator(self, what: str, number: int) -> np.random.Generator:
        return generator("reading order", what, self.reader.digest, self.seed, number)


class MixedOrder:
    """Two reading orders in one: of every 1 / `fraction` rows one comes from `second`, evenly spread over the run.

    Which order a row comes from is arithmetic, so a mixture is resumed and replayed as a single order is.
    """

    def __init__(self, first: ReadingOrder, second: ReadingOrder, *, fraction: float) -> None:
        assert (first.rows, first.context_tokens) == (second.rows, second.context_tokens), "batches differ in shape"
        self.first, self.second, self.fraction = first, second, fraction
        self.rows, self.context_tokens = first.rows, first.context_tokens

    @property
    def step_tokens(self) -> int:
        return self.first.step_tokens

    def batch(self, step: int) -> Batch:
        """What step `step` (from 0) reads."""
        return stacked([self._row(step * self.rows + b) for b in range(self.rows)])

    def epochs(self, steps: int) -> float:
        """How often the documents of `first` are read in `steps` steps."""
        rows = steps * self.rows
        return (rows - self.rows_of_second(rows)) * self.context_tokens / self.first.epoch_tokens

    def documents_read(self, steps: int) -> Iterator[int]:
        """As `ReadingOrder.documents_read`, the documents of `first` alone."""
        rows = steps * self.rows
        yield from self.first.documents_in_rows(rows - self.rows_of_second(rows))

    def first_step(self, document: int, steps: int) -> int | None:
        """As `ReadingOrder.first_step`, for a document of `first`."""
        rows = steps * self.rows
        row = self.first.first_row(document, rows - self.rows_of_second(rows))
        if row is None:
            return None
        read = bisect_left(range(rows + 1), row + 1, key=lambda count: count - self.rows_of_second(count))
        return -(-read // self.rows)

    def rows_of_second(self, rows: int) -> int:
        """How many of the first `rows` rows come from `second`."""
        return int(rows * self.fraction)

    def _row(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        before, after = self.rows_of_second(row), self.rows_of_second(row + 1)
        return self.second.row(before) if after > before else self.first.row(row - before)


def reading_order(
    reader: TokenReader, conversations: TokenReader | None, *, fraction: float, seed: int, rows: int, context_tokens: int
) -> ReadingOrder | MixedOrder:
    """The order of the documents, with `fraction` of the rows from conversations where there are any."""
    order = ReadingOrder(reader, seed=seed, rows=rows, context_tokens=context_tokens)
    if conversations is None:
        return order
    second = ReadingOrder(conversations, seed=seed, rows=rows, context_tokens=context_tokens)
    return MixedOrder(order, second, fraction=fraction)


def stacked(rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> Batch:
    """Rows of T + 1 ids and masks as a batch."""
    ids, mask = np.stack([ids for ids, _ in rows]), np.stack([mask for _, mask in rows])
    return Batch(ids[:, :-1], ids[:, 1:], mask[:, 1:])
