"""`ropewalk report`: everything known about a model on one self-contained page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ropewalk.artifact import Artifact, Part, open_artifact, source_digest
from ropewalk.artifact.manifest import LOGS
from ropewalk.evaluate import ReportOptions
from ropewalk.evaluate.answers import ANSWERS, Answer, read_answers
from ropewalk.evaluate.compare import changed_facts, changed_stages, comparison
from ropewalk.evaluate.lineage import ancestors, nearest
from ropewalk.evaluate.measure import EVALUATION
from ropewalk.evaluate.page import environment
from ropewalk.evaluate.plots import Series, line_plot, smoothed
from ropewalk.evaluate.roc import roc_figure
from ropewalk.evaluate.scores import grouped
from ropewalk.evaluate.truth import Truth, read_truth
from ropewalk.runtime.errors import ArtifactError, InputError
from ropewalk.runtime.metrics import read_metrics

COMPARISON = "comparison.json"
ANSWERS_SHOWN = 12
LONGEST_OPTION_CHARACTERS = 300


@dataclass(frozen=True)
class Evaluated:
    """An evaluation with all that lies behind it.

    models: the evaluated model and those it was trained from, as far as they are there, the pretrained one last.
    """

    name: str
    artifact: Artifact
    measured: dict[str, Any]
    answers: list[Answer]
    lineage: list[Artifact]
    missing: list[str]

    @property
    def models(self) -> list[Artifact]:
        return [artifact for artifact in self.lineage if artifact.kind == "model"]

    @property
    def latest_first(self) -> list[Artifact]:
        """The evaluation and all behind it, in the order in which they were made, backwards."""
        finished = [self.artifact, *self.lineage]
        return sorted(finished, key=lambda one: one.manifest["made_by"]["finished"], reverse=True)

    def truth(self) -> Truth | None:
        """The known truth that it was measured against, if it is still there."""
        entry = self.artifact.inputs.get("truth")
        path = self.artifact.input_path("truth") if entry else None
        if entry is None or path is None or not path.is_file() or source_digest(path)[1] != entry["digest"]:
            return None
        return read_truth(path)


def make_report(options: ReportOptions, part: Part) -> dict[str, Any]:
    """Write index.html. What is gone from the lineage, or has been rebuilt since, is left out, and the page says so.

    Raises:
        ArtifactError: the model itself is gone.
        InputError: there is another evaluation to compare with, and one of the two asked no questions.
    """
    this = read_evaluated(options.evaluation)
    if not this.models:
        raise ArtifactError(f"a report needs the evaluated model: {this.missing[0]}")
    compared = None
    if options.other is not None:
        compared = _compared(this, read_evaluated(options.other))
        (part.folder / COMPARISON).write_text(json.dumps(compared, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    page = _render(this, compared)
    (part.folder / "index.html").write_text(page, encoding="utf-8")
    return {"page_bytes": len(page.encode()), "missing": this.missing}


def read_evaluated(path: Path) -> Evaluated:
    """Open an evaluation and follow it back as far as it goes."""
    artifact = open_artifact(path, "evaluation")
    lineage, missing = ancestors(artifact)
    resolved = artifact.path.resolve()
    return Evaluated(
        name=f"{resolved.parent.name}/{resolved.name}",
        artifact=artifact,
        measured=json.loads((artifact.path / EVALUATION).read_text(encoding="utf-8")),
        answers=read_answers(artifact.path / ANSWERS) if ANSWERS in artifact.manifest["files"] else [],
        lineage=lineage,
        missing=missing,
    )


def _compared(this: Evaluated, other: Evaluated) -> dict[str, Any]:
    """Both evaluations' tables, and what differs between them."""
    for one in (this, other):
        if not one.answers:
            raise InputError(f"{one.artifact.path} asked no questions: compare evaluations that were given --questions")
    truths = [truth for truth in (this.truth(), other.truth()) if truth is not None]
    groups = [{row["group"]: row for row in one.measured["questions"]["groups"]} for one in (this, other)]
    return {
        "names": _short_names(this, other),
        "groups": [
            {"group": group, "accuracy": [side.get(group, {}).get("accuracy") for side in groups]}
            for group in dict.fromkeys([*groups[0], *groups[1]])
        ],
        "bits_per_byte": [one.measured["bits_per_byte"]["model"] for one in (this, other)],
        "web": changed_facts(*truths) if len(truths) == 2 else None,
        "stages": list(changed_stages(this.latest_first, other.latest_first)),
        **comparison(this.answers, other.answers),
    }


def _short_names(this: Evaluated, other: Evaluated) -> list[str]:
    """The folder's name of each run, or the evaluation's where both lie in one folder."""
    parts = [one.name.split("/") for one in (this, other)]
    return [part[1] if parts[0][0] == parts[1][0] else part[0] for part in parts]


def _render(this: Evaluated, compared: dict[str, Any] | None) -> str:
    pages = environment()
    pages.filters.update(page=page_of, option=_option, interval=_interval)
    model = this.models[0]
    corpus, classifier = nearest(this.lineage, "corpus"), nearest(this.lineage, "classifier")
    return pages.get_template("report.html.jinja").render(
        title=f"{model.path.resolve().parent.name}/{model.path.name}",
        model=model,
        models=this.models[::-1],
        pretrained=next((one for one in this.models if "tokens_read" in one.facts), None),
        later_seconds=sum(one.manifest["made_by"]["seconds"] for one in this.models if "model" in one.inputs),
        measured={"questions": None, "filter": None, "pages": [], "vocabulary": None, **this.measured},
        corpus=corpus,
        roc=roc_figure(classifier, corpus) if classifier and corpus else None,
        lineage=this.latest_first,
        missing=this.missing,
        plots=[plot for one in reversed(this.models) for plot in _plots(one, this.measured)],
        shown_answers=shown_answers(this.answers),
        compared=compared,
    )


def page_of(url: str) -> str:
    """An address as people read it: its path for pages of this machine, without the scheme for others."""
    try:
        parts = urlsplit(url)
    except ValueError:  # pages bring what is no address too
        return url
    path = unquote(parts.path) or "/"
    return path if parts.hostname in {None, "127.0.0.1", "localhost"} else f"{parts.netloc}{path}"


def _interval(share: dict[str, Any]) -> str:
    """The ends of a share's interval in percent; with a digit behind the point where there are enough answers for one."""
    digits = 1 if share["of"] >= 1_000 else 0
    return f"{100 * share['low']:.{digits}f}–{100 * share['high']:.{digits}f}"


def _option(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_OPTION_CHARACTERS else text[: LONGEST_OPTION_CHARACTERS - 3] + "..."


def shown_answers(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    """A dozen answers of each group, at places that do not depend on what was answered: evenly over the group."""
    shown = {}
    for group, some in grouped(answers, lambda answer: answer.group).items():
        last = len(some) - 1
        places = {round(last * pick / (ANSWERS_SHOWN - 1)) for pick in range(ANSWERS_SHOWN)}
        shown[group] = [some[place] for place in sorted(places)]
    return shown


def _plots(model: Artifact, measured: dict[str, Any]) -> list[dict[str, str]]:
    """The curves of one model's training, each with a caption."""
    rows = read_metrics(model.path / LOGS)
    if not rows:
        return []
    if "model" in model.inputs:
        return _later_plots(model.path.name, rows)
    return _pretraining_plots(model, rows, measured)


def _later_plots(name: str, rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Loss and rewards of a stage after pretraining, by step."""
    plots = []
    names = dict.fromkeys(key for row in rows for key in row)
    rewards = [key for key in names if ("reward" in key or key == "held_back/right_fraction") and not key.endswith("std")]
    for keys, label, caption in (
        ([key for key in names if key == "train/loss"], "loss", "training loss"),
        (rewards[:4], "mean of a step", "rewards"),
    ):
        series = []
        for key in keys:
            points = [(row["step"], row[key]) for row in rows if key in row]
            values = smoothed([value for _, value in points], window=max(1, len(points) // 40))
            series.append(Series(key, [step for step, _ in points], values))
        if series:
            plots.append(
                {"svg": line_plot(series, x_label="step", y_label=label), "caption": f"{name}: {caption}, smoothed."}
            )
    return plots


def _pretraining_plots(model: Artifact, rows: list[dict[str, Any]], measured: dict[str, Any]) -> list[dict[str, str]]:
    options = model.options
    step_tokens = options["batch_rows"] * options["context_tokens"] / 1e6
    read = [(row["step"] + 1) * step_tokens for row in rows]
    losses = Series("training loss", read, smoothed([row["train/loss"] for row in rows], window=20))
    loss = line_plot([losses], x_label="million tokens read", y_label="nats per token", top_quantile=0.98)
    plots = [{"svg": loss, "caption": f"{model.path.name}: training loss, mean of 20 steps."}]
    scored = [
        (x, row["held_out/bits_per_byte"]) for x, row in zip(read, rows, strict=True) if "held_out/bits_per_byte" in row
    ]
    if scored:
        curve = [Series("model, a few held-out documents", [x for x, _ in scored], [y for _, y in scored])]
        ends = [read[0], read[-1]]
        for name, value in measured["bits_per_byte"].items():
            if name != "model":
                curve.append(Series(name.replace("_", " ") + ", all of them", ends, [value, value], dashed=True))
        svg = line_plot(curve, x_label="million tokens read", y_label="bits per byte")
        caption = f"{model.path.name}: held-out bits per byte while training; dashed: the baselines' final figures."
        plots.append({"svg": svg, "caption": caption})
    return plots
