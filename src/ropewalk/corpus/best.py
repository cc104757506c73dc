"""Which documents are the best by their scores: a fraction of them, whatever the scores are.

Scores have six digits. So counting how often each of the million occurs tells where to cut, and nothing is sorted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

STEPS = 1_000_000


def choose_best(scores: np.ndarray, ranks: Callable[[], np.ndarray], *, fraction: float) -> np.ndarray:
    """Whether each document is among the ceil(fraction * n) best.

    Memory: 8 MB and a byte a document; where the last place is disputed, what `ranks` takes.

    Args:
        scores: of the documents, in millionths.
        ranks: gives a number for each, which decides among those with the least score that has a place: smallest first.
    """
    places = math.ceil(Fraction(str(fraction)) * len(scores))
    above = np.cumsum(np.bincount(scores, minlength=STEPS + 1)[::-1])  # documents with at least STEPS, STEPS - 1, ...
    least = STEPS - int(np.searchsorted(above, places))
    best = scores >= least
    surplus = int(best.sum()) - places
    if surplus:
        disputed = np.flatnonzero(scores == least)
        order = np.argsort(ranks()[disputed], kind="stable")
        best[disputed[order[len(order) - surplus :]]] = False
    return best
