"""Shares with what they leave open: Wilson's interval, and how well a number tells right from wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Z_95_PERCENT = 1.959963984540054


def share(hits: int, total: int) -> dict[str, Any]:
    """`hits` of `total` as {"hits", "of", "share", "low", "high"}: the share and its 95% interval; None where total is 0."""
    if total == 0:
        return {"hits": 0, "of": 0, "share": None, "low": None, "high": None}
    low, high = wilson(hits, total)
    return {"hits": hits, "of": total, "share": round(hits / total, 4), "low": round(low, 4), "high": round(high, 4)}


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927): it stays within 0 and 1, and has a width at 0 of 20 too."""
    fraction, z2 = hits / total, Z_95_PERCENT**2
    middle = (fraction + z2 / (2 * total)) / (1 + z2 / total)
    half = Z_95_PERCENT / (1 + z2 / total) * math.sqrt(fraction * (1 - fraction) / total + z2 / (4 * total**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def area_under_curve(right: Sequence[float], wrong: Sequence[float]) -> float | None:
    """The area under the ROC curve: how often a value of `right` exceeds one of `wrong`, a tie counting half.

    0.5 tells nothing, 1 tells all; None where either is empty.
    """
    if not right or not wrong:
        return None
    below = np.sort(np.array(wrong))
    less = np.searchsorted(below, right, side="left").sum(dtype=np.int64)
    less_or_equal = np.searchsorted(below, right, side="right").sum(dtype=np.int64)
    return round(float(less + less_or_equal) / (2 * len(right) * len(wrong)), 4)
