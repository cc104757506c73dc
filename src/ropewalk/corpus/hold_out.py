"""Choose the documents to set aside: a loss on them must measure understanding, not the memory of a passage.

Manuals repeat themselves across pages: one page that collects a hundred others, an option list in ten commands. A document
whose passages stand in others too is left to training, and the next one is looked at. Lee et al. 2021 found such overlap
between the splits of most corpora; 13-word runs are what GPT-3 used to find it (Brown et al. 2020, appendix C).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import numpy as np

from ropewalk.corpus.hashes import distinct, word_runs
from ropewalk.runtime.progress import say

RUN_WORDS = 13
CANDIDATES_PER_PLACE = 4
LEAST_CANDIDATES = 200
MOST_RUNS = 16_000_000


def ranks(page_ids: Iterable[str]) -> np.ndarray:
    """A number for each page, which depends on the page alone: the smallest are set aside first."""
    digests = (hashlib.sha256(f"held_out\n{page_id}".encode()).digest()[:8] for page_id in page_ids)
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def held_out(
    documents: np.ndarray,
    ranks: np.ndarray,
    texts: Callable[[], Iterator[tuple[int, str]]],
    *,
    fraction: float,
    max_overlap: float,
) -> set[int]:
    """Which documents to hold out.

    The ceil(fraction * n) documents whose rank is smallest among those with at most `max_overlap` of their 13-word runs in
    another document; where too few are that much their own, those that share least, and a line says so. A page keeps its
    rank whatever other pages there are, so a grown corpus sets aside mostly the same ones. One document at least trains.

    Memory: 40 bytes a document, some 350 for each candidate, at first four to a place, and what `overlaps` takes.

    Args:
        documents: their numbers. ranks: of each; of equal ones the first goes first.
        texts: the documents' numbers and texts, in any order; read twice for every four times `count` candidates.
        max_overlap: a share of 0 to 1; 1 looks at no text and takes the first by rank.
    """
    count = max(0, min(math.ceil(Fraction(str(fraction)) * len(documents)), len(documents) - 1))
    ranked = documents[np.argsort(ranks, kind="stable")]
    if count == 0 or max_overlap >= 1:
        return set(ranked[:count].tolist())
    shares: dict[int, float] = {}
    own: list[int] = []
    while len(own) < count and len(shares) < len(ranked):
        candidates = ranked[len(shares) : len(shares) + max(LEAST_CANDIDATES, CANDIDATES_PER_PLACE * count)].tolist()
        shares |= overlaps(candidates, texts)
        own = [document for document, share in shares.items() if share <= max_overlap]
    if len(own) < count:
        own = sorted(shares, key=lambda document: max(shares[document], max_overlap))[:count]
        say(
            f"only {sum(shares[document] <= max_overlap for document in own)} of {count} held-out documents share at most "
            f"{max_overlap:.0%} of their text with others; the most that one of them shares is {shares[own[-1]]:.0%}"
        )
    return set(own[:count])


def overlaps(
    candidates: list[int], texts: Callable[[], Iterator[tuple[int, str]]], *, most_runs: int = MOST_RUNS
) -> dict[int, float]:
    """The share of each candidate's 13-word runs that stand in another document as well, in the candidates' order.

    Memory: 20 bytes for each of the candidates' runs, of which `most_runs` are looked at. Where there are more, only every
    second is, or every fourth and so on, chosen by hash, in all documents alike: the shares are then estimates, and a
    candidate of which no run is chosen counts as shared, for it might be.
    """
    wanted, bits, total = set(candidates), 0, 0
    runs: dict[int, np.ndarray] = {}
    for document, text in texts():
        if document in wanted:
            runs[document] = _sampled(word_runs(text, length=RUN_WORDS), bits)
            total += len(runs[document])
            while total > most_runs:
                bits += 1
                runs = {document: _sampled(found, bits) for document, found in runs.items()}
                total = sum(map(len, runs.values()))
    known = distinct(np.concatenate([np.zeros(0, dtype=np.uint64), *runs.values()]))
    documents_with = np.zeros(len(known), np.uint8)
    for _, text in texts() if len(known) else ():
        found = _sampled(word_runs(text, length=RUN_WORDS), bits)
        place = np.minimum(np.searchsorted(known, found), len(known) - 1)
        place = place[known[place] == found]
        documents_with[place] = np.minimum(documents_with[place] + 1, 2)
    shares = {document: documents_with[np.searchsorted(known, found)] > 1 for document, found in runs.items()}
    return {document: float(shares[document].mean()) if len(shares[document]) else 1.0 for document in candidates}


def _sampled(runs: np.ndarray, bits: int) -> np.ndarray:
    """The runs whose hash begins with as many zeros."""
    return runs[runs >> np.uint64(64 - bits) == 0] if bits else runs
