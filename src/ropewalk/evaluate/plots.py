"""Plots as inline SVG, small and the same bytes for the same numbers."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot
from matplotlib.figure import Figure

INK, LINE, SECOND = "#3a3f47", "#0b6e99", "#c2571a"


@dataclass(frozen=True)
class Series:
    """One line of a plot, or its points alone; `dashed` is for a baseline."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    points: bool = False


def line_plot(
    series: Sequence[Series], *, x_label: str, y_label: str, top_quantile: float | None = None, logarithmic: bool = False
) -> str:
    """Lines over one axis. `top_quantile` cuts off the start of a loss curve, which would flatten the rest."""
    with pyplot.rc_context({"svg.hashsalt": "ropewalk", "svg.fonttype": "none", "font.size": 10, "text.color": INK}):
        figure, axes = pyplot.subplots(figsize=(6.4, 3.2))
        for one, color in zip(series, (LINE, SECOND, "#5b8c5a", "#8a5ba8"), strict=False):
            axes.plot(
                one.x,
                one.y,
                label=one.label,
                color=color,
                linewidth=1.2,
                linestyle="" if one.points else "--" if one.dashed else "-",
                marker="o" if one.points or len(one.x) == 1 else "",
            )
        if logarithmic:
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:.2f}")
            axes.yaxis.set_minor_formatter("{x:.2f}")
        if top_quantile is not None:
            ordered = sorted(value for one in series for value in one.y)
            axes.set_ylim(ordered[0] * 0.95, ordered[int(top_quantile * (len(ordered) - 1))])
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if len(series) > 1:
            axes.legend(frameon=False)
        return _drawn(figure)


def interval_plot(
    names: Sequence[str],
    intervals: Sequence[tuple[float, float, float]],
    *,
    x_label: str,
    strokes: Sequence[float] = (),
) -> str:
    """A point with a line from end to end for each name, from above, and a line at 0. intervals: (middle, low, high).

    strokes: a value for each name to compare it with, drawn as a short upright line.
    """
    with pyplot.rc_context({"svg.hashsalt": "ropewalk", "svg.fonttype": "none", "font.size": 10, "text.color": INK}):
        figure, axes = pyplot.subplots(figsize=(6.4, 0.8 + 0.32 * len(names)))
        places = range(len(names), 0, -1)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.hlines(places, [low for _, low, _ in intervals], [high for *_, high in intervals], color=LINE, linewidth=1.6)
        axes.plot([middle for middle, *_ in intervals], places, "o", color=LINE)
        axes.plot(strokes, places[: len(strokes)], "|", color=SECOND, markersize=14, markeredgewidth=2)
        axes.set_yticks(places, names)
        axes.set_xlabel(x_label)
        axes.grid(alpha=0.25, axis="x")
        axes.spines[["top", "right", "left"]].set_visible(False)
        return _drawn(figure)


def _drawn(figure: Figure) -> str:
    figure.tight_layout()
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    pyplot.close(figure)
    return re.sub(r"^.*?(?=<svg)", "", drawn.getvalue(), flags=re.DOTALL)


def smoothed(values: Sequence[float], *, window: int) -> list[float]:
    """A running mean over the last `window` values."""
    result, total = [], 0.0
    for index, value in enumerate(values):
        total += value - (values[index - window] if index >= window else 0.0)
        result.append(total / min(index + 1, window))
    return result
