"""`ropewalk report`: everything known about a model on one self-contained page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ropewalk.artifact import Artifact, Part, open_artifact, source_digest
from ropewalk.evaluate import ReportOptions
from ropewalk.evaluate.answers import ANSWERS, Answer, read_answers
from ropewalk.evaluate.card import model_card
from ropewalk.evaluate.compare import changed_facts, changed_stages, comparison
from ropewalk.evaluate.conduct import CONDUCT
from ropewalk.evaluate.costs import costs
from ropewalk.evaluate.curves import IntervalPlot, Plot, abstention_plot, side_by_side_plot, training_plots
from ropewalk.evaluate.lineage import ancestors, nearest
from ropewalk.evaluate.measure import EVALUATION
from ropewalk.evaluate.memorised import memorised
from ropewalk.evaluate.page import environment, run_and_name
from ropewalk.evaluate.roc import roc_plot
from ropewalk.evaluate.scaling import SWEEP, sweep_plot
from ropewalk.evaluate.scoreboard import scoreboard, scoreboard_plot
from ropewalk.evaluate.scores import grouped
from ropewalk.evaluate.truth import Truth, read_truth
from ropewalk.runtime.errors import ArtifactError, InputError
from ropewalk.trace.index import Index

COMPARISON, FIGURES, CARD, PAGE = "comparison.json", "figures.json", "README.md", "index.html"
ANSWERS_SHOWN = 12
LONGEST_OPTION_CHARACTERS = 300
Plots = dict[str, Sequence[Plot | IntervalPlot]]  # by the part of the page that they stand in


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
    def pretrained(self) -> Artifact | None:
        """The model that read pages; None for one that was made elsewhere."""
        return next((one for one in self.models if "tokens_read" in one.facts), None)

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
    """Write the page, its figures and the model card.

    What is gone from the lineage, or has been rebuilt since, is left out, and the page says so.

    Raises:
        ArtifactError: the model itself is gone.
        InputError: there is another evaluation to compare with, and only one of the two asked questions.
    """
    this = read_evaluated(options.evaluation)
    if not this.models:
        raise ArtifactError(f"a report needs the evaluated model: {this.missing[0]}")
    other = read_evaluated(options.other) if options.other is not None else None
    compared = None
    if other is not None:
        compared = _compared(this, other)
        (part.folder / COMPARISON).write_text(json.dumps(compared, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    scores = scoreboard(options.benchmarks)
    plots = _plots(this, other, scores, options)
    figures = _figures(this, plots, scores, options)
    page = _render(this, compared, plots, figures)
    (part.folder / FIGURES).write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (part.folder / PAGE).write_text(page, encoding="utf-8")
    (part.folder / CARD).write_text(model_card(figures), encoding="utf-8")
    return {"page_bytes": len(page.encode()), "missing": this.missing}


def _plots(this: Evaluated, other: Evaluated | None, scores: Sequence[dict[str, Any]], options: ReportOptions) -> Plots:
    measured = this.measured["bits_per_byte"]
    corpus, classifier = nearest(this.lineage, "corpus"), nearest(this.lineage, "classifier")
    both = None
    if other is not None and this.pretrained is not None and other.pretrained is not None:
        both = side_by_side_plot(_short_names(this, other), [this.pretrained, other.pretrained])
    named = {"answers": this.answers}
    if other is not None:
        named = dict(zip(_short_names(this, other), (this.answers, other.answers), strict=True))
    return {
        "compared": [both] if both else [],
        "training": [plot for one in reversed(this.models) for plot in training_plots(one, measured)],
        "questions": [abstention_plot(named)] if this.answers else [],
        "corpus": [roc_plot(classifier, corpus)] if classifier and corpus else [],
        "benchmarks": [scoreboard_plot(scores)] if len(scores) > 1 else [],
        "sweep": [sweep_plot(_json(options.sweep / SWEEP))] if options.sweep else [],
    }


def _figures(this: Evaluated, plots: Plots, scores: Sequence[dict[str, Any]], options: ReportOptions) -> dict[str, Any]:
    """All that the page shows but the comparison, which has a file of its own: figures.json."""
    corpus = nearest(this.lineage, "corpus")
    model = this.models[0]
    return {
        "model": {
            "name": run_and_name(model.path),
            "digest": model.digest,
            "facts": model.facts,
            "pretrained": this.pretrained.facts if this.pretrained else None,
            "preset": this.pretrained.options.get("preset") if this.pretrained else None,
            "ropewalk": model.manifest["made_by"]["ropewalk"],
        },
        "evaluation": {"questions": None, "filter": None, "pages": [], "vocabulary": None, **this.measured},
        "answers": {group: [asdict(answer) for answer in some] for group, some in shown_answers(this.answers).items()},
        "corpus": corpus.facts if corpus else None,
        "corpus_options": corpus.options if corpus else None,
        "memorised": _memorised(this),
        "sweep": _json(options.sweep / SWEEP) if options.sweep else None,
        "benchmarks": scores,
        "conduct": _json(options.conduct / CONDUCT) if options.conduct else None,
        "plots": {plot.name: plot.figures for some in plots.values() for plot in some},
        "costs": costs(this.latest_first, options.price_per_hour),
        "lineage": [
            {"artifact": one.path.name, "kind": one.kind, "digest": one.digest, "inputs": one.inputs, "options": one.options}
            for one in this.latest_first
        ],
        "missing": this.missing,
    }


def _memorised(this: Evaluated) -> dict[str, Any] | None:
    """How much of the samples stands on training pages; None without an index."""
    found = nearest(this.lineage, "index")
    if found is None:
        return None
    with Index.open(found.path) as index:
        return memorised(this.measured["samples"], index)


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def read_evaluated(path: Path) -> Evaluated:
    """Open an evaluation and follow it back as far as it goes."""
    artifact = open_artifact(path, "evaluation")
    lineage, missing = ancestors(artifact)
    return Evaluated(
        name=run_and_name(artifact.path),
        artifact=artifact,
        measured=_json(artifact.path / EVALUATION),
        answers=read_answers(artifact.path / ANSWERS) if ANSWERS in artifact.manifest["files"] else [],
        lineage=lineage,
        missing=missing,
    )


def _compared(this: Evaluated, other: Evaluated) -> dict[str, Any]:
    """Both evaluations' tables, and what differs between them."""
    silent = [one for one in (this, other) if not one.answers]
    if len(silent) == 1:
        raise InputError(f"{silent[0].artifact.path} asked no questions: give both evaluations --questions, or none")
    truths = [truth for truth in (this.truth(), other.truth()) if truth is not None]
    asked = [one.measured["questions"]["groups"] if one.answers else [] for one in (this, other)]
    groups = [{row["group"]: row for row in rows} for rows in asked]
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


def _render(this: Evaluated, compared: dict[str, Any] | None, plots: Plots, figures: dict[str, Any]) -> str:
    pages = environment()
    pages.filters.update(page=page_of, option=_option, interval=_interval, pointer=_pointer)
    return pages.get_template("report.html.jinja").render(
        title=figures["model"]["name"],
        figures=figures,
        model=this.models[0],
        models=this.models[::-1],
        pretrained=this.pretrained,
        later_seconds=sum(one.manifest["made_by"]["seconds"] for one in this.models if "model" in one.inputs),
        measured=figures["evaluation"],
        corpus=nearest(this.lineage, "corpus"),
        lineage=this.latest_first,
        missing=this.missing,
        plots=plots,
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


def _pointer(name: str) -> str:
    """A key as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


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
