"""Gopher's repetition rules (Rae et al. 2021, "Scaling Language Models", table A1) with FineWeb's way of counting.

Every fraction of characters is of the whole text's, white space included. Of repeated lines and paragraphs the first
occurrence does not count. Decisions are those of datatrove 0.10 (`GopherRepetitionFilter`), by hashing runs of words in
arrays: two different runs with one hash of 64 bits would be taken for each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.measure import Measure
from ropewalk.corpus.spacy_words import Words

_PARAGRAPH_BREAK = re.compile(r"\n{2,}")
_LINE_BREAK = re.compile(r"\n+")
_MULTIPLIER = np.uint64(0xD1342543DE82EF95)
_ONE = np.ones(1, np.uint64)


def measures(text: str, words: Words, options: CorpusOptions) -> Iterator[Measure]:
    """What the repetition rules ask, in FineWeb's order. Lazy: what stands after a failure need not be computed."""
    if not text:
        yield Measure("empty", 0, 1, "least")
        return
    paragraphs, characters = repeats(_PARAGRAPH_BREAK.split(text.strip()))
    yield Measure("gopher_duplicate_paragraphs", paragraphs, options.max_duplicate_paragraph_fraction, "most")
    limit = options.max_duplicate_paragraph_character_fraction
    yield Measure("gopher_duplicate_paragraph_characters", characters / len(text), limit, "most")
    lines, characters = repeats(_LINE_BREAK.split(text))
    yield Measure("gopher_duplicate_lines", lines, options.max_duplicate_line_fraction, "most")
    limit = options.max_duplicate_line_character_fraction
    yield Measure("gopher_duplicate_line_characters", characters / len(text), limit, "most")
    for size, limit in zip(range(2, 5), options.max_top_ngram_fractions, strict=True):
        fraction = top_run_characters(words, size) / len(text)
        yield Measure(f"gopher_top_{size}_gram", fraction, limit, "most")
    strings = RunHashes(words)
    for size, limit in zip(range(5, 11), options.max_duplicate_ngram_fractions, strict=True):
        fraction = duplicate_run_characters(strings, size) / len(text)
        yield Measure(f"gopher_duplicate_{size}_grams", fraction, limit, "most")


def repeats(pieces: list[str]) -> tuple[float, int]:
    """Which fraction of the pieces repeats an earlier one, and how many characters those have."""
    distinct = set(pieces)
    if len(distinct) == len(pieces):
        return 0.0, 0
    characters = sum(map(len, pieces)) - sum(map(len, distinct))
    return (len(pieces) - len(distinct)) / len(pieces), characters


def top_run_characters(words: Words, size: int) -> int:
    """The characters in all occurrences of the most frequent run of `size` words, the spaces between them included.

    Of equally frequent runs the first in the text counts, even where none comes twice. Overlapping occurrences all count.
    """
    count = len(words) - size + 1
    if count < 1:
        return 0
    hashes = np.zeros(count, np.uint64)
    for offset in range(size):
        hashes = hashes * _MULTIPLIER + words.numbers[offset : offset + count].view(np.uint64)
        hashes ^= hashes >> np.uint64(29)
    ordered = np.sort(hashes)
    edges = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    times = np.diff(edges, append=count)
    first = int(_among(hashes, ordered[edges[times == times.max()]]).argmax()) if times.max() > 1 else 0
    characters = int(words.table.characters[words.numbers[first : first + size]].sum()) + size - 1
    return characters * int(times.max())


class RunHashes:
    """A text's words without anything between them: where each begins, and hashes of runs.

    A run is hashed as the string it makes, because FineWeb compares strings: "can", "not" and "cann", "ot" are equal. The
    hash is the sum of c[k] * BASE**k over its characters c: a difference of prefix sums, shifted back to the first place.
    """

    def __init__(self, words: Words) -> None:
        table, numbers = words.table, words.numbers
        self.starts = np.concatenate(([0], np.cumsum(table.characters[numbers])))
        places = np.cumprod(np.concatenate((_ONE, table.shifts[numbers])), dtype=np.uint64)[:-1]
        self._back = np.cumprod(np.concatenate((_ONE, table.shifts_back[numbers])), dtype=np.uint64)[:-1]
        self._sums = np.concatenate((_ONE, np.cumsum(table.polynomials[numbers] * places, dtype=np.uint64) + _ONE))

    def of(self, size: int) -> np.ndarray:
        """The hash of the run of `size` words at each place: uint64 (N - size + 1,)."""
        count = max(0, len(self._back) - size + 1)
        return (self._sums[size : size + count] - self._sums[:count]) * self._back[:count]


def duplicate_run_characters(strings: RunHashes, size: int) -> int:
    """The characters in runs of `size` words that repeat an earlier one, read from left to right.

    A repeated run is stepped over whole, and runs that begin inside it are not looked at, not even as a first occurrence.
    """
    hashes = strings.of(size)
    ordered = np.sort(hashes)
    equal = ordered[1:] == ordered[:-1]
    if not equal.any():
        return 0
    places = np.flatnonzero(_among(hashes, ordered[1:][equal]))
    lengths = strings.starts[places + size] - strings.starts[places]
    characters = after = 0
    seen = set()
    for place, run, length in zip(places.tolist(), hashes[places].tolist(), lengths.tolist(), strict=True):
        if place < after:
            continue
        if run in seen:
            characters += length
            after = place + size
        else:
            seen.add(run)
    return characters


def _among(values: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """Which of `values` are among others, of which there is one at least: np.isin sorts them all first."""
    return ascending[np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)] == values
