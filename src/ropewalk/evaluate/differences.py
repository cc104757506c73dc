"""A difference between two sets of models on the same documents, with what the choice of seeds and of documents leaves open.

Shapes: S seeds, D documents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

STEPS = 20_000


@dataclass(frozen=True)
class Difference:
    """A mean and its 95% interval."""

    mean: float
    low: float
    high: float


def bits_per_byte_difference(nats_SD: np.ndarray, other_SD: np.ndarray, bytes_D: np.ndarray) -> Difference:
    """By how many bits per byte `nats_SD` exceeds `other_SD`, paired by seed and by document.

    Two things could have come out otherwise: the seeds, whose variance is that of the S differences, and the documents,
    whose variance is that of a ratio of sums (Cochran 1977, chapter 6). Both are added, which counts what they share twice:
    the interval errs to the wide side. Its t has the degrees of freedom of Welch 1947: a bootstrap would not know how few
    three seeds are.
    """
    S, D = nats_SD.shape
    bits_SD = (nats_SD - other_SD) / math.log(2)
    total_bytes = float(bytes_D.sum())
    per_seed = bits_SD.sum(axis=1) / total_bytes
    mean = float(per_seed.mean())
    of_seeds = float(per_seed.var(ddof=1)) / S
    residuals = bits_SD.mean(axis=0) - mean * bytes_D
    of_documents = float((residuals**2).sum()) * D / (D - 1) / total_bytes**2
    variance = of_seeds + of_documents
    if variance == 0:
        return Difference(mean, mean, mean)
    freedom = variance**2 / (of_seeds**2 / (S - 1) + of_documents**2 / (D - 1))
    half = t_quantile(freedom) * math.sqrt(variance)
    return Difference(mean, mean - half, mean + half)


def t_quantile(freedom: float) -> float:
    """What Student's t stays below 97.5 times in 100. freedom: degrees of it, 1 or more.

    With x = sqrt(freedom) tan(a) the density is cos(a)^(freedom - 1), on a finite range.
    """
    angles = np.linspace(0.0, math.pi / 2, STEPS + 1)
    density = np.cos(angles) ** (freedom - 1)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return math.sqrt(freedom) * math.tan(float(np.interp(0.95, below / below[-1], angles)))
