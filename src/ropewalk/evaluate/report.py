"""`ropewalk report`: everything known about a model on one self-contained page."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from ropewalk.artifact import Artifact, Part, open_artifact, open_input
from ropewalk.artifact.manifest import LOGS
from ropewalk.evaluate import ReportOptions
from ropewalk.evaluate.measure import EVALUATION
from ropewalk.evaluate.plots import Series, line_plot, smoothed
from ropewalk.runtime.errors import ArtifactError
from ropewalk.runtime.metrics import read_metrics
from ropewalk.runtime.progress import clock, size


def make_report(options: ReportOptions, part: Part) -> dict[str, Any]:
    """Write index.html. What is gone from the lineage, or has been rebuilt since, is left out, and the page says so.

    Raises:
        ArtifactError: the model itself is gone.
    """
    from jinja2 import Environment, StrictUndefined

    evaluation = open_artifact(options.evaluation, "evaluation")
    measured = json.loads((evaluation.path / EVALUATION).read_text(encoding="utf-8"))
    lineage, missing = ancestors(evaluation)
    if "model" not in lineage:
        raise ArtifactError(f"a report needs the evaluated model: {missing[0]}")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(clock=clock, size=size, count=lambda number: f"{number:,}")
    template = environment.from_string(files("ropewalk.evaluate").joinpath("report.html.jinja").read_text(encoding="utf-8"))
    model = lineage["model"]
    page = template.render(
        title=model.path.parent.name + "/" + model.path.name,
        model=model,
        measured=measured,
        corpus=lineage.get("corpus"),
        lineage=[evaluation, *lineage.values()],
        missing=missing,
        plots=_plots(model, measured),
    )
    (part.folder / "index.html").write_text(page, encoding="utf-8")
    return {"page_bytes": len(page.encode()), "missing": missing}


def ancestors(artifact: Artifact) -> tuple[dict[str, Artifact], list[str]]:
    """Every artifact behind this one by kind, nearest first, and a line for each that is gone or has changed."""
    found: dict[str, Artifact] = {}
    missing: list[str] = []
    queue = [artifact]
    while queue:
        child = queue.pop(0)
        for name, entry in child.inputs.items():
            if entry["kind"] in found or entry["kind"] in {"folder", "file"}:
                continue
            try:
                parent = open_input(child, name)
            except ArtifactError as error:
                missing.append(str(error))
                continue
            found[entry["kind"]] = parent
            queue.append(parent)
    return found, missing


def _plots(model: Artifact, measured: dict[str, Any]) -> dict[str, str]:
    rows = read_metrics(model.path / LOGS)
    if not rows:
        return {}
    options = model.options
    step_tokens = options["batch_rows"] * options["context_tokens"] / 1e6
    read = [(row["step"] + 1) * step_tokens for row in rows]
    losses = [row["train/loss"] for row in rows]
    scored = [
        (x, row["held_out/bits_per_byte"]) for x, row in zip(read, rows, strict=True) if "held_out/bits_per_byte" in row
    ]
    plots = {
        "loss": line_plot(
            [Series("training loss", read, smoothed(losses, window=20))],
            x_label="million tokens read",
            y_label="nats per token",
            top_quantile=0.98,
        )
    }
    if scored:
        curve = [Series("model, a few held-out documents", [x for x, _ in scored], [y for _, y in scored])]
        ends = [read[0], read[-1]]
        for name, value in measured["bits_per_byte"].items():
            if name != "model":
                curve.append(Series(name.replace("_", " ") + ", all of them", ends, [value, value], dashed=True))
        plots["bits_per_byte"] = line_plot(curve, x_label="million tokens read", y_label="bits per byte")
    return plots
