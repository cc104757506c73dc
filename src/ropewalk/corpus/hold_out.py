"""Choose the documents to set aside: a loss on them must measure understanding, not the memory of a passage.

Manuals repeat themselves across pages: one page that collects a hundred others, an option list in ten commands. A document
whose passages stand in others too is left to training, and the next one is looked at. Lee et al. 2021 found such overlap
between the splits of most corpora; 13-word runs are what GPT-3 used to find it (Brown et al. 2020, appendix C).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np

from ropewalk.corpus.duplicates import word_runs
from ropewalk.runtime.progress import say

RUN_WORDS = 13
CANDIDATES_PER_PLACE = 4
LEAST_CANDIDATES = 200


def held_out(
    page_ids: list[str], texts: Callable[[], Iterator[tuple[int, str]]], *, fraction: float, max_overlap: float
) -> set[int]:
    """Which documents to hold out, by their number in `page_ids`.

    The ceil(fraction * n) documents whose hash is smallest among those with at most `max_overlap` of their 13-word runs in
    another document; where too few are that much their own, those that share least, and a line says so. A page keeps its
    rank whatever other pages there are, so a grown corpus sets aside mostly the same ones. One document at least trains.

    Args:
        texts: the documents' numbers and texts, in any order; read twice for every four times `count` candidates.
        max_overlap: a share of 0 to 1; 1 looks at no text and takes the first by hash.
    """
    count = max(0, min(math.ceil(Fraction(str(fraction)) * len(page_ids)), len(page_ids) - 1))
    ranked = sorted(range(len(page_ids)), key=lambda index: hashlib.sha256(f"held_out\n{page_ids[index]}".encode()).digest())
    if count == 0 or max_overlap >= 1:
        return set(ranked[:count])
    shares: dict[int, float] = {}
    own: list[int] = []
    while len(own) < count and len(shares) < len(ranked):
        candidates = ranked[len(shares) : len(shares) + max(LEAST_CANDIDATES, CANDIDATES_PER_PLACE * count)]
        shares |= overlaps(candidates, texts)
        own = [index for index in ranked[: len(shares)] if shares[index] <= max_overlap]
    if len(own) < count:
        own = sorted(ranked, key=lambda index: max(shares[index], max_overlap))[:count]
        say(
            f"only {sum(shares[index] <= max_overlap for index in own)} of {count} held-out documents share at most "
            f"{max_overlap:.0%} of their text with others; the most that one of them shares is {shares[own[-1]]:.0%}"
        )
    return set(own[:count])


def overlaps(candidates: list[int], texts: Callable[[], Iterator[tuple[int, str]]]) -> dict[int, float]:
    """The share of each candidate's 13-word runs that stand in another document as well."""
    wanted = set(candidates)
    runs = {index: word_runs(text, length=RUN_WORDS) for index, text in texts() if index in wanted}
    known = np.unique(np.concatenate(list(runs.values())))
    documents_with = np.zeros(len(known), np.int64)
    for _, text in texts():
        found = word_runs(text, length=RUN_WORDS)
        place = np.minimum(np.searchsorted(known, found), len(known) - 1)
        documents_with[place[known[place] == found]] += 1
    return {index: float((documents_with[np.searchsorted(known, own)] > 1).mean()) for index, own in runs.items()}
