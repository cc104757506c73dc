"""Evaluation and the report: what a model is worth beside plain baselines, on documents it never read and on questions.

ropewalk eval   --model runs/docs/model --tokens runs/docs/tokens --corpus runs/docs/corpus --out runs/docs/evaluation
ropewalk report --evaluation runs/docs/evaluation --out runs/docs/report
ropewalk ablate --corpus runs/docs/corpus --out runs/docs/ablation
ropewalk sweep  --tokens runs/docs/tokens --tokenizer runs/docs/tokenizer --out runs/docs/sweep

measure       make an evaluation: evaluation.json, answers.jsonl
ngram         the 5-gram baseline: modified Kneser-Ney over the same tokens
compression   the xz baseline: what is left of a text when the compressor knows the training text
questions     questions with known answers, and the one grader
answers       put them to a model; the training pages that support what it answers
scores        shares by group and relation, abstention, confidence, evidence
shares        Wilson's interval, the area under the ROC curve
truth         what each page of a web is known to be and to state
filters       what became of every page, against that truth
lineage       the artifacts behind an evaluation
compare       two evaluations side by side
roc           the curve of the corpus' classifier
report        one HTML page of all of it
page          what its templates and others' have in common
ablation      what each rule of a corpus is worth to a small model: ablation.json, index.html
variants      the corpus without its rules, and without each of them
differences   a mean difference over seeds and documents, with its interval
scaling       models of several depths, and how loss falls with work: sweep.json, index.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MultipleOf

from ropewalk.artifact import Artifact
from ropewalk.config import Estimate, Input, NotContent, Stage, build_stage
from ropewalk.model.config import Preset
from ropewalk.runtime.errors import OptionError

EVAL = Stage("eval", "evaluation", version=4, libraries=("torch",))
REPORT = Stage("report", "report", version=5, libraries=("jinja2", "matplotlib"))
ABLATE = Stage("ablate", "ablation", version=1, libraries=("jinja2", "matplotlib", "numpy", "torch"))
SWEEP = Stage("sweep", "sweep", version=1, libraries=("jinja2", "matplotlib", "numpy", "torch"))


@dataclass(frozen=True)
class EvalOptions:
    """Measure a model on the held-out documents of its corpus, and on questions."""

    model: Annotated[Path, Input("model")]
    """The model to measure: pretrained, or trained further from there."""
    tokens: Annotated[Path, Input("tokens")]
    """The tokens it was pretrained on, with the held-out ones."""
    corpus: Annotated[Path, Input("corpus")]
    """The corpus these tokens were made from."""
    questions: Annotated[Path | None, Input()] = None
    """A JSONL file of questions to ask and grade, greedily."""
    index: Annotated[Path | None, Input("index")] = None
    """An index of that corpus: what is answered is looked up in the training pages."""
    truth: Annotated[Path | None, Input()] = None
    """A JSONL file that says of each page of the web whether it is worth keeping and what it states."""
    answer_tokens: Annotated[int, Gt(0)] = 40
    """Longest answer to a question, in tokens."""
    untrained_questions: Annotated[int, Ge(0)] = 20
    """Questions of each group that are put to the untrained model too, for comparison."""
    ngram_order: Annotated[int, Gt(1)] = 5
    """Order of the n-gram baseline."""
    baseline_tokens: Annotated[int, Gt(0)] = 25_000_000
    """Training tokens that the baselines read at most, in whole documents drawn by page_id: they work in memory."""
    prompts: tuple[str, ...] = ("", "The ", "How to ", "This function returns ", "If you want to ")
    """Beginnings to continue, for the samples of the report."""
    samples_per_prompt: Annotated[int, Ge(0)] = 2
    """Continuations of each beginning, unedited, at seeds 0, 1, ..."""
    sample_tokens: Annotated[int, Gt(0)] = 120
    """Length of a sample, in tokens."""


@dataclass(frozen=True)
class ReportOptions:
    """Put all that is known about a model on one page."""

    evaluation: Annotated[Path, Input("evaluation")]
    """The evaluation to show; the artifacts behind it are found through its lineage."""
    other: Annotated[Path | None, Input("evaluation")] = None
    """Another evaluation to compare it with: the tables of both, and the answers that differ."""


@dataclass(frozen=True)
class AblateOptions:
    """Learn what each rule of a corpus is worth: the same small model, trained with it and without."""

    corpus: Annotated[Path, Input("corpus")]
    """The corpus whose rules are on trial; its pages must still be there. Its held-out documents measure."""
    without: tuple[str, ...] = ()
    """What to leave out, each by itself: raw (everything), url, language, repetition, quality, c4, fineweb, relevance,
    exact_duplicate, near_duplicate, repeats. None given: all of them that the corpus has."""
    seeds: Annotated[int, Ge(2)] = 3
    """Models of each variant, of different starting weights and reading orders."""
    train_tokens: Annotated[int, Gt(0)] = 400_000
    """Tokens that each model reads, however many its variant has: fewer are read again."""
    documents: Annotated[int, Ge(2)] = 200
    """Held-out documents to measure on at most, those of smallest page_id."""
    overlap_words: Annotated[int, Ge(1), Le(255)] = 25
    """No variant trains on a page that has as many words in a row in common with these documents: with 25, on none of their
    copies, but on pages that share a sentence."""
    vocabulary: Annotated[int, Ge(262)] = 2048
    """Tokens of the one tokenizer, learned from the corpus with all its rules."""
    depth: Annotated[int, Gt(0)] = 4
    """Layers of the model."""
    width: Annotated[int, Gt(0)] = 128
    """Width of the model, a multiple of 32."""
    context_tokens: Annotated[int, Ge(8)] = 256
    """Longest sequence the model reads."""
    batch_rows: Annotated[int, Gt(0)] = 8
    """Sequences a step."""
    workers: Annotated[int, Ge(0), NotContent] = 0
    """Worker processes that judge pages; 0 for one per core."""


@dataclass(frozen=True)
class SweepOptions:
    """Train models of several depths, and learn how their loss falls with the work put into them."""

    tokens: Annotated[Path, Input("tokens")]
    """The tokens to learn from, with held-out documents to measure on."""
    tokenizer: Annotated[Path, Input("tokenizer", also="model")]
    """The tokenizer that made them."""
    depths: tuple[Annotated[int, Gt(0)], ...] = (1, 2, 3, 4)
    """Layers of each model; its width follows."""
    preset: Preset = "portable"
    """The shape, as for pretrain."""
    head_width: Annotated[int, Gt(0), MultipleOf(2)] = 64
    """Width of an attention head."""
    context_tokens: Annotated[int, Ge(8)] | None = None
    """Longest sequence the models read, as for pretrain."""
    tokens_per_parameter: Annotated[float, Gt(0)] = 10.5
    """Tokens that each model reads for each of its parameters, embeddings not counted."""
    batch_rows: Annotated[int, Gt(0)] | None = None
    """Sequences a step, if not by the dial."""
    seeds: Annotated[int, Gt(0)] = 1
    """Models of each depth."""
    evaluate_documents: Annotated[int, Gt(0)] = 256
    """Held-out documents to measure on, at most."""
    compile: Literal["auto", "off"] = "auto"
    """Compile the blocks, as for pretrain."""


def run_eval(options: EvalOptions, *, out: Path, force: bool = False) -> Artifact:
    """Measure a model into the artifact `out`.

    Raises:
        ArtifactError: model, tokens, corpus and index do not belong together.
        InputError: nothing is held out, or a line of the questions or the truth is wrong.
        OptionError: an index without questions.
    """
    if options.index is not None and options.questions is None:
        raise OptionError("ropewalk eval: an index is for looking up answers, give --questions too")
    from ropewalk.evaluate.measure import make_evaluation

    return build_stage(EVAL, options, out=out, force=force, make=lambda part: make_evaluation(options, part))


def run_report(options: ReportOptions, *, out: Path, force: bool = False) -> Artifact:
    """Write `index.html` into the artifact `out`: one file, nothing loaded from elsewhere.

    Raises:
        ArtifactError: the evaluated model is gone.
        InputError: two evaluations of which one asked no questions.
    """
    from ropewalk.evaluate.report import make_report

    return build_stage(REPORT, options, out=out, force=force, make=lambda part: make_report(options, part))


def run_ablate(options: AblateOptions, *, out: Path, force: bool = False) -> Artifact:
    """Make the variants of a corpus, train models on them, and write what each rule is worth into the artifact `out`.

    Raises:
        OptionError: a rule that the corpus does not have. ArtifactError: its pages or lists have changed since.
        InputError: it holds out fewer than two documents.
    """
    from ropewalk.evaluate.ablation import check, make_ablation

    check(options)
    return build_stage(ABLATE, options, out=out, force=force, make=lambda part: make_ablation(options, part))


def run_sweep(options: SweepOptions, *, out: Path, force: bool = False) -> Artifact:
    """Train the models and write the law between them into the artifact `out`.

    Raises:
        OptionError: fewer than two depths. InputError: nothing is held out. ArtifactError: tokens of another tokenizer.
    """
    from ropewalk.evaluate.scaling import make_sweep

    return build_stage(SWEEP, options, out=out, force=force, make=lambda part: make_sweep(options, part))


def estimate_sweep(options: SweepOptions, amount: float) -> Estimate:
    """Models at 6 FLOPs a weight and token, 28 GFLOP/s a core."""
    from ropewalk.runtime.machine import cores

    weights = [12 * depth * (64 * depth) ** 2 + 4096 * 64 * depth for depth in options.depths]
    operations = options.seeds * sum(6 * options.tokens_per_parameter * one**2 for one in weights)
    return Estimate(seconds=operations / (28e9 * cores()) + 30 * len(weights), disk_bytes=2e5)


def estimate_ablate(options: AblateOptions, amount: float) -> Estimate:
    """`amount` is documents: judged anew for each variant, ten or so; models at 6 FLOPs a weight and token, 28 GFLOP/s."""
    variants = len(options.without) + 1 if options.without else 10
    weights = 12 * options.depth * options.width**2 + options.vocabulary * options.width
    training = variants * options.seeds * options.train_tokens * 6 * weights / 28e9
    return Estimate(seconds=training + variants * (20 + amount / 70), disk_bytes=2e5)


def estimate_eval(options: EvalOptions, amount: float) -> Estimate:
    """`amount` is the model's parameters; the baselines take as long as some text at 1 MB/s, a few thousand
    questions to a small model half a minute."""
    asking_seconds = 30 * (options.questions is not None)
    return Estimate(seconds=20 + asking_seconds + amount * 5e-6, disk_bytes=4e6)


def estimate_report(options: ReportOptions, amount: float) -> Estimate:
    """Plots and a page: seconds."""
    return Estimate(seconds=5, disk_bytes=1e6)
