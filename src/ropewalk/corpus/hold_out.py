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

RUN_WORDS = 13
CANDIDATES_PER_PLACE = 4


def held_out(
    page_ids: list[str], texts: Callable[[], Iterator[tuple[int, str]]], *, fraction: float, max_overlap: float
) -> set[int]:
    """Which documents to hold out, by their number in `page_ids`.

    The ceil(fraction * n) documents whose hash is smallest among those with at most `max_overlap` of their 13-word runs in
    another document; fewer, if the first four times as many hold no more. A page keeps its rank whatever other pages there
    are, so a grown corpus sets aside mostly the same ones. One document at least stays for training.

    Args:
        texts: the documents' numbers and texts, in any order; read twice, never held at once.
        max_overlap: a share of 0 to 1; 1 looks at no text and takes the first by hash.
    """
    count = max(0, min(math.ceil(Fraction(str(fraction)) * len(page_ids)), len(page_ids) - 1))
    ranked = sorted(range(len(page_ids)), key=lambda index: hashlib.sha256(f"held_out\n{page_ids[index]}".encode()).digest())
    if count == 0 or max_overlap >= 1:
        return set(ranked[:count])
    candidates = ranked[: CANDIDATES_PER_PLACE * count]
    shares = overlaps(candidates, texts)
    return set([index for index in candidates if shares[index] <= max_overlap][:count])


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
