"""The order in which training tokens are read: a pure function of (tokens digest, seed, shape of a batch, step).

All training documents are laid end to end in an order drawn anew for each epoch. The stream is cut into rows of T tokens and
steps take rows in a drawn order too, so that the rows of a batch come from different documents: a batch of neighbours is
nearly one sample, and learned far less from (LOG.md, 2026-11-23). Nothing is cropped, padded or dropped, a resumed run
continues at its step without any saved state, and what a model had read by step N is a replay.

Shapes: B rows, T context tokens.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from operator import itemgetter

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

    def epochs_in_rows(self, rows: int) -> float:
        """How often the training documents are read in `rows` rows."""
        return rows * self.context_tokens / self.epoch_tokens

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

    def starts(self, row: int) -> np.ndarray:
        """Whether each of the T + 1 ids of the `row`-th row begins a document, or what the row has of one."""
        sizes = [size for _, _, _, size in self._pieces(self.row_start(row), self.context_tokens + 1)]
        starts = np.zeros(self.context_tokens + 1, np.bool_)
        starts[np.cumsum([0, *sizes[:-1]])] = True
        return starts

    def pages_in_rows(self, rows: int) -> Iterator[tuple[int, str]]:
        """The page_id of each document, with the row that comes upon it, in the order of the first `rows` rows.

        A document is named once an epoch, when the first of its tokens is read.
        """
        seen: set[tuple[int, int]] = set()
        for row in range(rows):
            for epoch, document, _, _ in self._pieces(self.row_start(row), self.context_tokens):
                if (epoch, document) not in seen:
                    seen.add((epoch, document))
                    yield row, bytes(self.reader.documents[document]["page_id"]).hex()

    def first_row_of(self, page_ids: Collection[str], rows: int) -> int | None:
        """Which of the first `rows` rows, from 0, is the first to hold a token of one of these pages; None if none does."""
        found = [self.first_row(document, rows) for document in self.reader.rows_of(page_ids)]
        return min((row for row in found if row is not None), default=None)

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

    Which order a row comes from is arithmetic, so a mixture is resumed and replayed as a single order is; and `first` may be
    a mixture itself.
    """

    def __init__(self, first: ReadingOrder | MixedOrder, second: ReadingOrder, *, fraction: float) -> None:
        assert (first.rows, first.context_tokens) == (second.rows, second.context_tokens), "batches differ in shape"
        self.first, self.second, self.fraction = first, second, fraction
        self.rows, self.context_tokens = first.rows, first.context_tokens

    @property
    def step_tokens(self) -> int:
        return self.first.step_tokens

    def batch(self, step: int) -> Batch:
        """What step `step` (from 0) reads."""
        return stacked([self.row(step * self.rows + b) for b in range(self.rows)])

    def epochs_in_rows(self, rows: int) -> float:
        """How often the documents of the first order of all are read in `rows` rows."""
        return self.first.epochs_in_rows(rows - self.rows_of_second(rows))

    def row(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """As `ReadingOrder.row`."""
        order, within = self._part(row)
        return order.row(within)

    def starts(self, row: int) -> np.ndarray:
        """As `ReadingOrder.starts`."""
        order, within = self._part(row)
        return order.starts(within)

    def pages_in_rows(self, rows: int) -> Iterator[tuple[int, str]]:
        """As `ReadingOrder.pages_in_rows`."""
        second = self.rows_of_second(rows)
        from_first = ((self._row_of_first(row), page_id) for row, page_id in self.first.pages_in_rows(rows - second))
        from_second = ((self._row_of_second(row), page_id) for row, page_id in self.second.pages_in_rows(second))
        return merge(from_first, from_second, key=itemgetter(0))

    def first_row_of(self, page_ids: Collection[str], rows: int) -> int | None:
        """As `ReadingOrder.first_row_of`."""
        second = self.rows_of_second(rows)
        found = []
        if (row := self.first.first_row_of(page_ids, rows - second)) is not None:
            found.append(self._row_of_first(row))
        if (row := self.second.first_row_of(page_ids, second)) is not None:
            found.append(self._row_of_second(row))
        return min(found, default=None)

    def _row_of_first(self, row: int) -> int:
        """Where in the mixture the `row`-th row of the first order is read."""
        most = int((row + 2) / (1 - self.fraction)) + 2
        return bisect_left(range(most), row + 1, key=lambda count: count - self.rows_of_second(count)) - 1

    def _row_of_second(self, row: int) -> int:
        most = int((row + 2) / self.fraction) + 2
        return bisect_left(range(most), row + 1, key=self.rows_of_second) - 1

    def rows_of_second(self, rows: int) -> int:
        """How many of the first `rows` rows come from `second`."""
        return int(rows * self.fraction)

    def _part(self, row: int) -> tuple[ReadingOrder | MixedOrder, int]:
        before, after = self.rows_of_second(row), self.rows_of_second(row + 1)
        return (self.second, before) if after > before else (self.first, row - before)


def reading_order(
    reader: TokenReader,
    *others: tuple[TokenReader | None, float],
    seed: int,
    rows: int,
    context_tokens: int,
) -> ReadingOrder | MixedOrder:
    """The order of the documents, mixed with others: each with the fraction of the rows that come from it, if it is there.

    A fraction is of what those before it leave: give the one that is to be of all rows last.
    """
    order: ReadingOrder | MixedOrder = ReadingOrder(reader, seed=seed, rows=rows, context_tokens=context_tokens)
    for other, fraction in others:
        if other is not None:
            second = ReadingOrder(other, seed=seed, rows=rows, context_tokens=context_tokens)
            order = MixedOrder(order, second, fraction=fraction)
    return order


def stacked(rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> Batch:
    """Rows of T + 1 ids and masks as a batch."""
    ids, mask = np.stack([ids for ids, _ in rows]), np.stack([mask for _, mask in rows])
    return Batch(ids[:, :-1], ids[:, 1:], mask[:, 1:])
