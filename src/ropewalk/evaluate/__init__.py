"""Evaluation and the report: what a model is worth beside plain baselines, on documents it never read.

ropewalk eval   --model runs/docs/model --tokens runs/docs/tokens --corpus runs/docs/corpus --out runs/docs/evaluation
ropewalk report --evaluation runs/docs/evaluation --out runs/docs/report

ngram         the 5-gram baseline: modified Kneser-Ney over the same tokens
compression   the xz baseline: what is left of a text when the compressor knows the training text
measure       bits per byte by site, baselines, samples at fixed seeds -> evaluation.json
report        one HTML page: funnel, curves, figures, samples, lineage
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt

from ropewalk.artifact import Artifact
from ropewalk.config import Estimate, Input, Stage, build_stage

EVAL = Stage("eval", "evaluation", version=1, libraries=("torch",))
REPORT = Stage("report", "report", version=1, libraries=("jinja2", "matplotlib"))


@dataclass(frozen=True)
class EvalOptions:
    """Measure a model on the held-out documents of its corpus."""

    model: Annotated[Path, Input("model")]
    """The model to measure."""
    tokens: Annotated[Path, Input("tokens")]
    """The tokens it was trained on, with the held-out ones."""
    corpus: Annotated[Path, Input("corpus")]
    """The corpus these tokens were made from."""
    ngram_order: Annotated[int, Gt(1)] = 5
    """Order of the n-gram baseline."""
    baseline_tokens: Annotated[int, Gt(0)] = 25_000_000
    """Training tokens that the baselines read at most, in whole documents drawn by page_id: they work in memory."""
    prompts: tuple[str, ...] = ("", "The ", "How to ", "This function returns ", "If you want to ")
    """Beginnings to continue, for the samples of the report."""
    samples_per_prompt: Annotated[int, Ge(0)] = 2
    """Continuations of each beginning, unedited, at seeds 0, 1, ..."""
    sample_tokens: Annotated[int, Gt(0)] = 120
    """Length of a sample."""


@dataclass(frozen=True)
class ReportOptions:
    """Put all that is known about a model on one page."""

    evaluation: Annotated[Path, Input("evaluation")]
    """The evaluation to show; the artifacts behind it are found through its lineage."""


def run_eval(options: EvalOptions, *, out: Path, force: bool = False) -> Artifact:
    """Measure a model into the artifact `out`.

    Raises:
        ArtifactError: the tokens are not those of this model, or not of this corpus.
        InputError: nothing is held out.
    """
    from ropewalk.evaluate.measure import make_evaluation

    return build_stage(EVAL, options, out=out, force=force, make=lambda part: make_evaluation(options, part))


def run_report(options: ReportOptions, *, out: Path, force: bool = False) -> Artifact:
    """Write `index.html` into the artifact `out`: one file, nothing loaded from elsewhere."""
    from ropewalk.evaluate.report import make_report

    return build_stage(REPORT, options, out=out, force=force, make=lambda part: make_report(options, part))


def estimate_eval(options: EvalOptions, amount: float) -> Estimate:
    """`amount` is the model's parameters; the baselines take as long as a few minutes of text at 1 MB/s."""
    return Estimate(seconds=60 + amount * 5e-6, disk_bytes=1e6)


def estimate_report(options: ReportOptions, amount: float) -> Estimate:
    """Plots and a page: seconds."""
    return Estimate(seconds=5, disk_bytes=1e6)
