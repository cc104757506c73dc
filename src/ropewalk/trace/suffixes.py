"""Text and its suffix array, in shards: every place a run of text can begin, sorted by the text from there on.

The array is over bytes, not tokens: a run is found wherever it begins and ends, inside words too, and counted exactly,
however either side was split into tokens. The byte 0xFF, which no UTF-8 holds, ends every page, so no run crosses pages.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ropewalk.artifact import Part
from ropewalk.runtime.errors import InputError

PAGE_END = 0xFF
LONGEST_SHARD_BYTES = 2**31 - 1
FIRST_LOOK_BYTES = 64
POSITIONS_SORTED = 10_000


class ShardWriter:
    """Deal pages out to shards, in order, and sort each shard as it fills.

    A finished suffix array stays through interruptions; all else is written anew, and quickly. Memory holds one shard.
    """

    def __init__(self, part: Part, *, shard_bytes: int) -> None:
        self._part, self._shard_bytes = part, shard_bytes
        self._text = bytearray()
        self._first_bytes: list[int] = []
        self.shards = 0
        self.text_bytes = 0

    def add(self, page: bytes) -> tuple[int, int]:
        """Append a page's text. Returns its shard and its first byte there.

        Raises:
            InputError: the page alone is more than a suffix array can number.
        """
        if len(page) >= LONGEST_SHARD_BYTES:
            raise InputError(
                f"a page of {len(page)} bytes is too long to index: make the corpus with a smaller max_page_bytes"
            )
        if self._text and len(self._text) + len(page) >= self._shard_bytes:
            self._close()
        first_byte = len(self._text)
        self._first_bytes.append(first_byte)
        self._text += page
        self._text.append(PAGE_END)
        self.text_bytes += len(page)
        return self.shards, first_byte

    def finish(self) -> None:
        """Write the last shard."""
        if self._text:
            self._close()

    def _close(self) -> None:
        suffixes = self._part.folder / suffixes_name(self.shards)
        if not suffixes.is_file():
            self._draft.write_bytes(self._text)
            self._put(text_name(self.shards))
            with self._draft.open("wb") as file:
                np.save(file, np.array(self._first_bytes, dtype="<u4"), allow_pickle=False)
            self._put(first_bytes_name(self.shards))
            write_suffixes(self._draft, self._text)
            self._put(suffixes.name)
        self._text, self._first_bytes = bytearray(), []
        self.shards += 1

    @property
    def _draft(self) -> Path:
        return self._part.scratch / "shard.draft"

    def _put(self, name: str) -> None:
        with self._draft.open("rb") as file:
            os.fsync(file.fileno())
        self._draft.replace(self._part.folder / name)


def write_suffixes(path: Path, text: bytearray) -> None:
    """Sort the suffixes of `text` that begin a character, and write them as uint32.

    In byte order, continuation bytes stand together and page ends come last: what is kept are two slices of the whole.
    """
    from pydivsufsort import divsufsort

    order = divsufsort(text)
    continued = bisect_left(order, 0x80, key=text.__getitem__)
    begun = bisect_left(order, 0xC0, key=text.__getitem__)
    ended = bisect_left(order, PAGE_END, key=text.__getitem__)
    with path.open("wb") as file:  # no second copy of the array: it is four times the text
        shape = (continued + ended - begun,)
        np.lib.format.write_array_header_1_0(file, {"descr": "<u4", "fortran_order": False, "shape": shape})
        order[:continued].view("<u4").tofile(file)
        order[begun:ended].view("<u4").tofile(file)


class Shard:
    """One shard of text with its suffix array, both memory-mapped. Positions are bytes into the shard."""

    def __init__(self, folder: Path, number: int) -> None:
        with (folder / text_name(number)).open("rb") as file:
            self.text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # A memoryview gives one number as a plain int, several times faster than numpy does.
        self._suffixes = memoryview(np.load(folder / suffixes_name(number), mmap_mode="r"))
        self._first_bytes = np.load(folder / first_bytes_name(number))

    def find(self, run: bytes) -> tuple[int, int]:
        """The slice of the suffix array whose suffixes begin with `run`; its length is how often `run` occurs."""
        low = self._place(run)
        return low, bisect_right(self._suffixes, run, low, key=self._beginning(len(run)))

    def occurs(self, run: bytes) -> bool:
        """Whether `run` stands in one of the pages."""
        low = self._place(run)
        return low < len(self._suffixes) and self._begins(low, len(run)) == run

    def longest_prefix(self, text: bytes) -> int:
        """Bytes of the longest beginning of `text` that stands in one of the pages."""
        length = FIRST_LOOK_BYTES
        while True:
            wanted = text[:length]
            place = self._place(wanted)
            neighbours = [at for at in (place - 1, place) if 0 <= at < len(self._suffixes)]
            common = max((_common_prefix(wanted, self._begins(at, length)) for at in neighbours), default=0)
            if common < length or length >= len(text):
                return common
            length *= 4

    def first_places(self, low: int, high: int) -> list[tuple[int, int]]:
        """(page's number in this shard, position) of the first place in each page, for a slice that `find` gave.

        Of a run that occurs over 10,000 times, the first 10,000 in the order of what follows it are looked at.
        """
        positions = np.sort(np.asarray(self._suffixes[low : min(high, low + POSITIONS_SORTED)]))
        pages, first = np.unique(np.searchsorted(self._first_bytes, positions, side="right") - 1, return_index=True)
        return list(zip(pages.tolist(), positions[first].tolist(), strict=True))

    def _place(self, run: bytes) -> int:
        """Where in the suffix array the suffixes that begin with `run` are, or would be."""
        return bisect_left(self._suffixes, run, key=self._beginning(len(run)))

    def _begins(self, at: int, length: int) -> bytes:
        return self._beginning(length)(self._suffixes[at])

    def _beginning(self, length: int) -> Callable[[int], bytes]:
        """From a position to the `length` bytes of text there."""
        return lambda position: self.text[position : position + length]


def _common_prefix(left: bytes, right: bytes) -> int:
    shorter = min(len(left), len(right))
    return bisect_left(range(shorter), True, key=lambda at: left[: at + 1] != right[: at + 1])


def text_name(shard: int) -> str:
    return f"text-{shard:05d}.bin"


def suffixes_name(shard: int) -> str:
    return f"suffixes-{shard:05d}.npy"


def first_bytes_name(shard: int) -> str:
    return f"first-bytes-{shard:05d}.npy"
