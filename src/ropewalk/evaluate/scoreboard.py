"""Scores on benchmarks as the report shows them: each with its baselines, and one plot of several."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ropewalk.artifact import open_artifact
from ropewalk.evaluate.curves import IntervalPlot
from ropewalk.evaluate.page import run_and_name
from ropewalk.evaluate.scored import FIGURES


def scoreboard(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The figures of each benchmark with the model that was scored, the same tasks beside each other."""
    scores = []
    for path in paths:
        artifact = open_artifact(path)
        figures = json.loads((path / FIGURES).read_text(encoding="utf-8"))
        entry = artifact.inputs["model"]
        model = {"name": run_and_name(artifact.input_path("model")), "digest": entry["digest"]}
        scores.append({"artifact": run_and_name(path), "model": model, **figures})
    tasks = list(dict.fromkeys(one["task"] for one in scores))
    return sorted(scores, key=lambda one: tasks.index(one["task"]))


def scoreboard_plot(scores: Sequence[dict[str, Any]]) -> IntervalPlot:
    """What each model gets right of each benchmark, and what chance does."""
    several = len({one["model"]["digest"] for one in scores}) > 1
    rows = [one["acc_token"] for one in scores]
    return IntervalPlot(
        name="benchmarks",
        source=FIGURES,
        caption="Right by log-probability a token, as CORE counts, with 95% intervals (Wilson); the stroke is chance.",
        names=[f"{one['task']}, {one['model']['name']}" if several else one["task"] for one in scores],
        intervals=[(row["share"], row["low"], row["high"]) for row in rows],
        strokes=[one["baselines"]["chance"] for one in scores],
        x_label="share of the items",
    )
