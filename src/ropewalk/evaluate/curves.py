"""The plots of a report, each with the numbers that are drawn: what the page shows stands in figures.json, too."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ropewalk.artifact import Artifact
from ropewalk.artifact.manifest import LOGS
from ropewalk.evaluate.answers import Answer
from ropewalk.evaluate.plots import Series, interval_plot, line_plot, smoothed
from ropewalk.evaluate.scores import abstention
from ropewalk.runtime.metrics import METRICS, read_metrics


@dataclass(frozen=True)
class Plot:
    """One plot. `name` is its key in figures.json, `source` the file that the numbers were read from."""

    name: str
    source: str
    caption: str
    series: Sequence[Series]
    x_label: str
    y_label: str
    top_quantile: float | None = None
    logarithmic: bool = False

    @property
    def svg(self) -> str:
        """The plot, drawn."""
        return line_plot(
            self.series,
            x_label=self.x_label,
            y_label=self.y_label,
            top_quantile=self.top_quantile,
            logarithmic=self.logarithmic,
        )

    @property
    def figures(self) -> dict[str, Any]:
        """What is drawn, for figures.json."""
        return {
            "source": self.source,
            "caption": self.caption,
            "x": self.x_label,
            "y": self.y_label,
            "series": [asdict(one) for one in self.series],
        }


@dataclass(frozen=True)
class IntervalPlot:
    """Points with their intervals, one a name, and a stroke at what each is to be compared with."""

    name: str
    source: str
    caption: str
    names: Sequence[str]
    intervals: Sequence[tuple[float, float, float]]
    strokes: Sequence[float]
    x_label: str

    @property
    def svg(self) -> str:
        """The plot, drawn."""
        return interval_plot(self.names, self.intervals, x_label=self.x_label, strokes=self.strokes)

    @property
    def figures(self) -> dict[str, Any]:
        """What is drawn, for figures.json."""
        return {
            "source": self.source,
            "caption": self.caption,
            "x": self.x_label,
            "rows": [
                {"name": name, "middle": middle, "low": low, "high": high, "stroke": stroke}
                for name, (middle, low, high), stroke in zip(self.names, self.intervals, self.strokes, strict=True)
            ],
        }


def training_plots(model: Artifact, bits_per_byte: Mapping[str, float]) -> list[Plot]:
    """The curves of one model's training. bits_per_byte: the evaluation's, the baselines' among them."""
    rows = read_metrics(model.path / LOGS)
    if not rows:
        return []
    if "model" in model.inputs:
        return list(_later(model, rows))
    return list(_pretraining(model, rows, bits_per_byte))


def abstention_plot(named: Mapping[str, Sequence[Answer]]) -> Plot:
    """How right answers are when the least sure ones are withheld; of one evaluation, or of several by name."""
    return Plot(
        "abstention",
        "answers.jsonl",
        "How right it is when the least sure answers are withheld, of all questions. Refusals count as withheld.",
        [Series(name, *abstention(answers)) for name, answers in named.items()],
        "share of the questions that are answered",
        "right among those",
    )


def overoptimisation_plot(name: str, rows: Sequence[dict[str, Any]]) -> Plot | None:
    """What a reward model gave and what was right, over how far a model had moved: Gao et al. 2023, figure 1.

    The proxy is the reward on held-back tasks, the gold standard the share of these that is answered rightly, the distance
    the root of the divergence from the model as it came. None if the metrics have not all three of them.
    """
    looks = [row for row in rows if {"held_back/reward", "held_back/right_fraction", "kl"} <= row.keys()]
    if not looks:
        return None
    distances = [math.sqrt(max(row["kl"], 0.0)) for row in looks]
    proxies = [row["held_back/reward"] for row in looks]
    low, high = min(proxies), max(proxies)
    scaled = [(proxy - low) / (high - low) if high > low else 0.0 for proxy in proxies]
    right = [row["held_back/right_fraction"] for row in looks]
    return Plot(
        f"{name}/overoptimisation",
        f"{name}/{LOGS}/{METRICS}",
        f"{name}: what the reward model gives, and what is right, on held-back tasks, the further it moves.",
        [Series("given by the reward model, from least to most", distances, scaled), Series("right", distances, right)],
        "root of the divergence from the start, in nats",
        "",
    )


def side_by_side_plot(names: Sequence[str], models: Sequence[Artifact]) -> Plot | None:
    """Held-out bits per byte while both pretrained models learned; None if one of them was never looked at."""
    curves = [_held_out(model, read_metrics(model.path / LOGS)) for model in models]
    if not all(curves):
        return None
    series = [Series(name, [x for x, _ in curve], [y for _, y in curve]) for name, curve in zip(names, curves, strict=True)]
    caption = "Held-out bits per byte while they were pretrained, each on a few documents of its own."
    return Plot("both", f"{LOGS}/{METRICS}", caption, series, "million tokens read", "bits per byte")


def _later(model: Artifact, rows: list[dict[str, Any]]) -> Iterator[Plot]:
    """What a stage after pretraining wrote down, by step."""
    name = model.path.name
    names = dict.fromkeys(key for row in rows for key in row)
    rewards = [key for key in names if ("reward" in key or key == "held_back/right_fraction") and not key.endswith("std")]
    for kind, keys, label, caption in (
        ("loss", [key for key in names if key == "train/loss"], "loss", "training loss"),
        ("rewards", rewards[:4], "mean of a step", "rewards"),
        (
            "policy",
            [key for key in names if key in ("entropy", "kl")],
            "nats",
            "how undecided it is, and how far from where it began",
        ),
    ):
        series = []
        for key in keys:
            points = [(row["step"], row[key]) for row in rows if key in row]
            values = smoothed([value for _, value in points], window=max(1, len(points) // 40))
            series.append(Series(key, [step for step, _ in points], values))
        if series:
            source = f"{name}/{LOGS}/{METRICS}"
            yield Plot(f"{name}/{kind}", source, f"{name}: {caption}, smoothed.", series, "step", label)
    if "reward" in model.inputs and (plot := overoptimisation_plot(name, rows)):
        yield plot


def _pretraining(model: Artifact, rows: list[dict[str, Any]], bits_per_byte: Mapping[str, float]) -> Iterator[Plot]:
    name, source = model.path.name, f"{model.path.name}/{LOGS}/{METRICS}"
    read = _read(model, rows)
    losses = Series("training loss", read, smoothed([row["train/loss"] for row in rows], window=20))
    caption = f"{name}: training loss, mean of 20 steps."
    yield Plot(f"{name}/loss", source, caption, [losses], "million tokens read", "nats per token", top_quantile=0.98)
    scored = _held_out(model, rows)
    if scored:
        curve = [Series("model, a few held-out documents", [x for x, _ in scored], [y for _, y in scored])]
        ends = [read[0], read[-1]]
        for baseline, value in bits_per_byte.items():
            if baseline != "model":
                curve.append(Series(baseline.replace("_", " ") + ", all of them", ends, [value, value], dashed=True))
        caption = f"{name}: held-out bits per byte while training; dashed: the baselines' final figures."
        yield Plot(f"{name}/bits_per_byte", source, caption, curve, "million tokens read", "bits per byte")


def _read(model: Artifact, rows: Sequence[dict[str, Any]]) -> list[float]:
    """Million tokens read by the end of each row's step."""
    step_tokens = model.facts["batch_rows"] * model.facts["row_tokens"] / 1e6
    return [(row["step"] + 1) * step_tokens for row in rows]


def _held_out(model: Artifact, rows: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
    key = "held_out/bits_per_byte"
    return [(x, row[key]) for x, row in zip(_read(model, rows), rows, strict=True) if key in row]
