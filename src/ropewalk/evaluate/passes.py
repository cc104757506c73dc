"""pass@k: how often at least one of k answers to a question is right (Chen et al. 2021, Codex, section 2.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ropewalk.evaluate.shares import Z_95_PERCENT


@dataclass(frozen=True)
class Drawn:
    """How many of the answers that were drawn to a question are right: a line of samples.jsonl."""

    id: str
    group: str
    right: int
    samples: int


def pass_at(k: int, *, right: int, samples: int) -> float:
    """The probability that one at least of k of these answers is right, were they drawn from them without returning any.

    Without bias for k answers of the model, where 1 - (1 - right / samples)^k is too small.
    """
    assert 0 < k <= samples
    return 1 - math.comb(samples - right, k) / math.comb(samples, k)


def pass_figures(drawn: Mapping[str, Sequence[Drawn]]) -> list[dict[str, Any]]:
    """The mean over each group's questions for k = 1, 2, 4, ... with its 95% interval by the normal distribution."""
    return [
        {"group": group, "samples": some[0].samples, "pass": [_mean(some, k) for k in _counts(some)]}
        for group, some in drawn.items()
    ]


def _counts(some: Sequence[Drawn]) -> list[int]:
    return [1 << power for power in range(some[0].samples.bit_length())]


def _mean(some: Sequence[Drawn], k: int) -> dict[str, Any]:
    values = np.array([pass_at(k, right=one.right, samples=one.samples) for one in some])
    half = Z_95_PERCENT * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 1.0
    mean = float(values.mean())
    return {
        "k": k,
        "of": len(values),
        "share": round(mean, 4),
        "low": round(max(0.0, mean - half), 4),
        "high": round(min(1.0, mean + half), 4),
    }
