"""A rule applied to a text: what was measured, what it may be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple


class Measure(NamedTuple):
    """What a rule found: a value that must be at `least` or at `most` its threshold."""

    rule: str
    value: float
    threshold: float
    bound: Literal["least", "most"]

    @property
    def passes(self) -> bool:
        return self.value >= self.threshold if self.bound == "least" else self.value <= self.threshold


def first_failure(measures: Iterable[Measure]) -> Measure | None:
    """The first rule that is broken, or None."""
    return next((measure for measure in measures if not measure.passes), None)
