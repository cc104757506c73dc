"""Numbers for the words of a text and for its runs of words, a whole text at a time.

A word is what `ropewalk.corpus.words` says, in lower case, each character by itself: those few that Python lowers to two,
or by their neighbours, are the exception. The number of a run of things is a polynomial of their numbers modulo 2^64,
mixed (Karp and Rabin 1987): all runs come from one sum over the text, whatever their length. That is no defence against an
author who wants two words to have one number; he could only make pages of his own go.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

WORDS_VERSION = "polynomial-1"
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_FINE_BITS = 10
_PLANE = 1 << 16
_JOINS = "-'’"
_JOIN = 1 << 31  # marks, in the table, what belongs to a word only between two of its letters


@dataclass(frozen=True)
class Words:
    """The words of a text, in order: a number for each, and where it stands: its first character, and the one past it."""

    hashes: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


def find_words(text: str) -> Words:
    """Number the words of a text. Memory: some 30 bytes a character for the time of the call."""
    letters = _letters(text)
    joins = np.flatnonzero(letters >= _JOIN)
    inside = letters > 0
    inside[joins] = False
    inside[joins[inside[joins - 1] & inside[joins + 1]]] = True
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    starts, ends = edges[0::2], edges[1::2]
    return Words(_span_hashes(letters.astype(np.uint64), starts, ends), starts - 1, ends - 1)


def word_hashes(text: str) -> np.ndarray:
    """A hash for each word, lower case, in order."""
    return find_words(text).hashes


def hash_runs(hashes: np.ndarray, *, length: int) -> np.ndarray:
    """A hash for each run of `length` words, in order; one for all of them if they are fewer."""
    size = min(length, len(hashes))
    starts = np.arange(max(1, len(hashes) - size + 1))
    return _span_hashes(hashes, starts, starts + size)


def word_runs(text: str, *, length: int) -> np.ndarray:
    """Distinct hashes of all runs of `length` words, lower case, ascending; of the whole text if it is shorter."""
    return distinct(hash_runs(word_hashes(text), length=length))


def distinct(numbers: np.ndarray) -> np.ndarray:
    """The different numbers of an array, ascending: numpy 2.4's `unique` hashes integers and takes 7 to 25 times as long."""
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def _span_hashes(numbers: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """A number for each span: equal for spans of equal numbers, wherever they stand."""
    coarse, fine = _powers(_BASE, len(numbers))
    sums = np.zeros(len(numbers) + 1, dtype=np.uint64)
    np.cumsum(numbers * np.outer(coarse, fine).ravel()[: len(numbers)], out=sums[1:])
    coarse, fine = _powers(_INVERSE, len(numbers))
    moved = coarse[starts >> _FINE_BITS] * fine[starts & ((1 << _FINE_BITS) - 1)]
    return _mixed((sums[ends] - sums[starts]) * moved)


def _powers(base: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(coarse, fine): base**i is coarse[i >> 10] * fine[i & 1023], for i up to `count`."""
    return _run_of_powers(pow(base, 1 << _FINE_BITS, 1 << 64), (count >> _FINE_BITS) + 1), _fine(base)


@cache
def _fine(base: int) -> np.ndarray:
    return _run_of_powers(base, 1 << _FINE_BITS)


def _run_of_powers(base: int, count: int) -> np.ndarray:
    factors = np.full(count, base, dtype=np.uint64)
    factors[0] = 1
    return np.cumprod(factors)


def _mixed(values: np.ndarray) -> np.ndarray:
    """Spread every bit over all of them: splitmix64's last step (Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _letters(text: str) -> np.ndarray:
    """Each character as the number of its small letter, 0 where it is none; a 0 more at both ends."""
    letters = np.zeros(len(text) + 2, dtype=np.uint32)
    if text.isascii():
        codes = np.frombuffer(text.encode(), dtype=np.uint8)
        letters[1:-1] = _table()[codes]
        return letters
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    letters[1:-1] = _table()[np.minimum(codes, _PLANE - 1)]
    rare = np.flatnonzero(codes >= _PLANE)
    kinds, kind = np.unique(codes[rare], return_inverse=True)
    letters[rare + 1] = np.array([_letter(int(code)) for code in kinds], dtype=np.uint32)[kind]
    return letters


@cache
def _table() -> np.ndarray:
    """The first 65,536 characters; 20 ms to make, once in a process."""
    return np.fromiter(map(_letter, range(_PLANE)), dtype=np.uint32, count=_PLANE)


def _letter(code: int) -> int:
    letter = chr(code)
    if letter in _JOINS:
        return _JOIN | code
    if not (letter.isalnum() or letter == "_"):
        return 0
    small = letter.lower()
    return ord(small) if len(small) == 1 else code
