"""Cut the passages that stand elsewhere too: of every run of so many words all but the first in corpus order goes.

Lee et al. 2022 ("Deduplicating training data makes language models better") cut runs of 50 tokens found with a suffix array
over the whole corpus, in memory or nearly. Here every run of `length` words is hashed, and equal hashes are found on disk.
Words are compared in lower case and without what stands between them. A longer passage is a chain of such runs. The first
occurrence stays whole unless it repeats itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ropewalk.corpus.hashes import find_words, hash_runs
from ropewalk.corpus.spill import Spill
from ropewalk.corpus.texts import Texts

WORD_BYTES = 6
_ROW = np.uint64(32)  # a position is a row in the upper 32 bits and a word in the lower


def find_repeats(texts: Texts, folder: Path, *, length: int, text_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last positions of runs that repeat an earlier one: ascending, in chains, mapped from disk.

    Memory: what a `Spill` takes, twice. Disk: 16 bytes for every word of the corpus, three times its text, and as much
    again for the words that repeat.
    """
    expected = text_bytes // WORD_BYTES
    spill = Spill(folder / "runs", lanes=1, expected=expected)
    for row, text in texts.read():
        words = find_words(text).hashes
        if len(words) >= length:
            runs = hash_runs(words, length=length)
            spill.add(runs, (np.uint64(row) << _ROW) + np.arange(len(runs), dtype=np.uint64))
    spread = np.uint64(32 - max(1, len(texts.kept)).bit_length())
    repeated = Spill(folder / "repeated", lanes=1, expected=expected)
    for edges in spill.edges():
        repeated.add(edges[:, 1] << spread, edges[:, 1])
    names = folder / "firsts", folder / "lasts"
    with names[0].open("wb") as firsts, names[1].open("wb") as lasts:
        for blocks in repeated.files():
            positions = np.sort(np.concatenate([block[:, 1] for block in blocks]))
            breaks = np.flatnonzero(np.diff(positions) != 1)
            positions[np.concatenate([[0], breaks + 1])].tofile(firsts)
            positions[np.concatenate([breaks, [-1]])].tofile(lasts)
    if not names[0].stat().st_size:
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint64)
    return np.memmap(names[0], dtype=np.uint64, mode="r"), np.memmap(names[1], dtype=np.uint64, mode="r")


def passage_cutter(repeats: tuple[np.ndarray, np.ndarray], *, length: int) -> Callable[[int, str], str]:
    """An edit for `Texts.rewrite`. A passage goes with what stands between it and the next word."""
    firsts, lasts = repeats

    def edit(row: int, text: str) -> str:
        here = np.array([row, row + 1], dtype=np.uint64) << _ROW
        low, high = np.searchsorted(firsts, here)
        if low == high:
            return text
        starts = np.append(find_words(text).starts, len(text))
        left, end = [], 0
        for first, last in zip(firsts[low:high] - here[0], lasts[low:high] - here[0], strict=True):
            left.append(text[end : max(end, starts[int(first)])])
            end = starts[int(last) + length]
        left.append(text[end:])
        return "".join(left).strip() if any(len(find_words(piece).starts) for piece in left) else ""

    return edit
