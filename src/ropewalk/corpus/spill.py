"""Find equal keys among more of them than memory holds: dealt out to files by hash, then looked at a file at a time.

A key is one or more 64-bit lanes of a hash, or anything else that is spread over its first lane's upper bits: those say
which file. With each key comes a number. Neither the order in which records come nor the number of files decides what is
found.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

FILE_RECORDS = 2_000_000
_PENDING_RECORDS = 65_536
_MOST_BITS = 16


class Spill:
    """Records of a key and a number, on disk: 8 bytes for each lane and 8 for the number.

    Memory: 65,536 records while they come in, then some 100 bytes for each of `file_records`. Once a file of them is
    read it is gone, so they are read once.
    """

    def __init__(self, folder: Path, *, lanes: int, expected: int, file_records: int = FILE_RECORDS) -> None:
        """Make `folder`, or empty it. expected: about how many records will come; decides the number of files."""
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            left.unlink()
        self._folder, self._width, self._file_records = folder, lanes + 1, file_records
        self._bits = min(_MOST_BITS, (max(0, expected - 1) // file_records).bit_length())
        self._pending: list[np.ndarray] = []
        self._pending_records = 0

    def add(self, keys: np.ndarray, numbers: np.ndarray) -> None:
        """Add records. keys: uint64, (N,) or (N, lanes). numbers: (N,)."""
        self._pending.append(np.column_stack([keys, numbers.astype(np.uint64)]))
        self._pending_records += len(numbers)
        if self._pending_records >= _PENDING_RECORDS:
            self._flush()

    def edges(self) -> Iterator[np.ndarray]:
        """Pairs (E, 2) of numbers that link all of each key; the second ones are all but the smallest, each once.

        Yielded some at a time, millions at most.
        """
        for blocks in self.files():
            # However often a key comes, one record of it is carried on: a page copied a million times fills no memory.
            seen = np.zeros((0, self._width), dtype=np.uint64)
            for block in blocks:
                seen, edges = _linked(np.concatenate([seen, block]))
                yield edges

    def totals(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The keys and the sums of their numbers, a file at a time. For keys of one lane."""
        for blocks in self.files():
            keys, totals = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint64)
            for block in blocks:
                keys, place = np.unique(np.concatenate([keys, block[:, 0]]), return_inverse=True)
                numbers, totals = np.concatenate([totals, block[:, 1]]), np.zeros(len(keys), dtype=np.uint64)
                np.add.at(totals, place, numbers)
            yield keys, totals

    def files(self) -> Iterator[Iterator[np.ndarray]]:
        """The records (N, lanes + 1), at most `file_records` at a time, of each file; files go by the keys' upper bits."""
        self._flush()
        for path in sorted(self._folder.iterdir()):
            yield self._blocks(path)
            path.unlink()

    def _blocks(self, path: Path) -> Iterator[np.ndarray]:
        with path.open("rb") as file:
            while len(block := np.fromfile(file, dtype=np.uint64, count=self._file_records * self._width)):
                yield block.reshape(-1, self._width)

    def _flush(self) -> None:
        if not self._pending:
            return
        records = np.concatenate(self._pending)
        self._pending, self._pending_records = [], 0
        # Twice, for a shift by all 64 bits is none.
        number = (records[:, 0] >> np.uint64(32) >> np.uint64(32 - self._bits)).astype(np.uint16)
        records = records[np.argsort(number, kind="stable")]
        ends = np.cumsum(np.bincount(number, minlength=1 << self._bits))
        for name in np.unique(number):
            with (self._folder / f"{name:05d}").open("ab") as file:
                records[ends[name - 1] if name else 0 : ends[name]].tofile(file)


def _linked(records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The record with the smallest number of each key; and edges from it to all others of that key."""
    lane = records[:, 0].copy()
    ordered = np.sort(lane)  # 4 times as fast as argsort, and most keys come once
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(repeated):
        return records, np.zeros((0, 2), dtype=np.uint64)
    twin = repeated[np.minimum(np.searchsorted(repeated, lane), len(repeated) - 1)] == lane
    twins = records[twin]
    twins = twins[np.lexsort(twins.T[::-1])]
    first = np.concatenate([[True], (twins[1:, :-1] != twins[:-1, :-1]).any(axis=1)])
    numbers = twins[:, -1]
    heads = numbers[first][np.cumsum(first) - 1]
    return np.concatenate([records[~twin], twins[first]]), np.column_stack([heads, numbers])[~first]
