"""Evaluation and the report: what a model is worth beside plain baselines, on documents it never read and on questions.

ropewalk tasks  --dataset arithmetic --out runs/sums
ropewalk eval   --model runs/docs/model --tokens runs/docs/tokens --corpus runs/docs/corpus --out runs/docs/evaluation
ropewalk report runs/docs
ropewalk report runs/docs runs/changed
ropewalk benchmark --model runs/docs/model --task hellaswag --source hellaswag.jsonl --out runs/docs/hellaswag
ropewalk conduct --model runs/tiny/model --out runs/tiny/conduct
ropewalk ablate --corpus runs/docs/corpus --out runs/docs/ablation
ropewalk sweep  --tokens runs/docs/tokens --tokenizer runs/docs/tokenizer --out runs/docs/sweep

measure       make an evaluation: evaluation.json, answers.jsonl
ngram         the 5-gram baseline: modified Kneser-Ney over the same tokens
compression   the xz baseline: what is left of a text when the compressor knows the training text
questions     questions with known answers, and the one grader
checks        how an answer is checked: numbers, choices, code, ...
datasets      problems of published data sets, and some drawn here
tasks         problems to practise on, and held-out ones: tasks.jsonl, held_out.jsonl, conversations.jsonl
likelihood    how probable continuations are behind their contexts
benchmarks    published benchmarks that are scored so: their three forms, and their fields
scored        score a model on one: items.jsonl, benchmark.json
harness       one of our models in lm-evaluation-harness
conduct       what a model refuses, and whom it treats otherwise: conduct.json, answers.jsonl
situations    the requests and sentences for that
answers       put them to a model; the training pages that support what it answers
passes        pass@k of answers that were drawn
scores        shares by group and relation, abstention, confidence, evidence
shares        Wilson's interval, the area under the ROC curve
truth         what each page of a web is known to be and to state
verbatim      how much of generated text stands in the pages word for word
filters       what became of every page, against that truth
lineage       the artifacts behind an evaluation
compare       two evaluations side by side
curves        the report's plots, with the numbers in them
roc           the curve of the corpus' classifier
scoreboard    scores on benchmarks, side by side
costs         what everything took
memorised     how much of what a model writes stands on its pages
card          the model card, as Hugging Face reads it
runs          what lies in a run's folder
report        one HTML page of all of it: index.html, figures.json, README.md
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
from ropewalk.config import Estimate, Input, Leading, NotContent, Stage, build_stage
from ropewalk.model.config import Preset
from ropewalk.runtime.errors import OptionError

EVAL = Stage("eval", "evaluation", version=6, libraries=("torch",))
REPORT = Stage("report", "report", version=7, libraries=("jinja2", "matplotlib"))
ABLATE = Stage("ablate", "ablation", version=1, libraries=("jinja2", "matplotlib", "numpy", "torch"))
BENCHMARK = Stage("benchmark", "benchmark", version=1, libraries=("numpy", "torch"))
CONDUCT = Stage("conduct", "conduct", version=1, libraries=("numpy", "torch"))
TASKS = Stage("tasks", "tasks", version=1, libraries=("numpy",), libraries_with=(("dataset", "gym", "reasoning-gym"),))
SWEEP = Stage("sweep", "sweep", version=1, libraries=("jinja2", "matplotlib", "numpy", "torch"))


@dataclass(frozen=True)
class TasksOptions:
    """Problems with answers that can be checked: to learn from with rewards, and to measure on."""

    dataset: Literal["arithmetic", "gym", "gsm8k", "math", "arc", "mmlu", "hellaswag", "humaneval", "questions"]
    """What to take: drawn here, of reasoning-gym, or a published data set in `source`. HumanEval comes in a package too."""
    source: Annotated[Path | None, Input()] = None
    """A file of that data set, JSONL or Parquet, with its own field names."""
    names: tuple[str, ...] = ()
    """Of reasoning-gym: which of its data sets, such as basic_arithmetic or word_sorting."""
    groups: tuple[str, ...] = ()
    """Of questions: which of their groups; all, if none is given."""
    operations: tuple[Literal["+", "-", "*"], ...] = ("+",)
    """Of arithmetic: what is calculated."""
    digits: Annotated[int, Gt(0), Le(9)] = 2
    """Of arithmetic: digits of both numbers."""
    count: Annotated[int, Gt(0)] | None = None
    """Problems to practise on; as many as there are, or 2,000 where they are drawn."""
    held_out: Annotated[int, Ge(0)] = 200
    """Problems that are kept apart, to measure on."""
    shots: Annotated[int, Ge(0)] = 0
    """Solved problems that stand before every question as examples."""
    system: str = ""
    """A system message for every question."""
    calculator: bool = False
    """Of arithmetic: let the ideal answers ask the tool `calculator` first, and tell of it in the system message."""
    seed: Annotated[int, Ge(0)] = 0
    """Decides what is drawn and what is held out."""

    @property
    def drawn(self) -> int:
        """How many problems to draw where they are drawn."""
        return (self.count or 2000) + self.held_out + self.shots


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
    """An index of that corpus: what is written and answered is looked up in the training pages."""
    truth: Annotated[Path | None, Input()] = None
    """A JSONL file that says of each page of the web whether it is worth keeping and what it states."""
    answer_tokens: Annotated[int, Gt(0)] = 40
    """Longest answer to a question, in tokens, or a turn of it."""
    question_samples: Annotated[int, Ge(0)] = 0
    """Answers drawn to each question beside the greedy one, for pass@k: how often one at least of k is right."""
    question_temperature: Annotated[float, Gt(0)] = 1.0
    """Of these answers; 1 is the model's own distribution."""
    tools: tuple[Literal["calculator", "python", "search"], ...] = ()
    """Tools that the system message tells of and an answer may call; `search` looks into the index."""
    tool_rounds: Annotated[int, Gt(0)] = 3
    """How often an answer may go on after results of tools."""
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
class BenchmarkOptions:
    """Score a model on a published benchmark, by how probable it holds the answers."""

    model: Annotated[Path, Input("model")]
    """The model to score."""
    task: Literal[
        "agi_eval_lsat_ar", "arc_challenge", "arc_easy", "bigbench_cs_algorithms", "bigbench_dyck_languages",
        "bigbench_language_identification", "bigbench_operators", "bigbench_qa_wikidata", "bigbench_repeat_copy_logic",
        "boolq", "commonsense_qa", "copa", "coqa", "hellaswag", "hellaswag_zeroshot", "jeopardy", "lambada_openai", "mmlu",
        "openbook_qa", "piqa", "squad", "winograd", "winogrande",
    ]  # fmt: skip
    """The benchmark: one of CORE's 22, or MMLU."""
    source: Annotated[Path, Input()]
    """Its file, JSONL or Parquet, with the field names of its makers or of CORE."""
    examples: Annotated[Path | None, Input()] = None
    """A file like it to draw the examples from; else they are drawn from the source, never the item itself."""
    shots: Annotated[int, Ge(0)] | None = None
    """Solved examples before every item, if not as many as in CORE."""
    items: Annotated[int, Gt(0)] | None = None
    """Score no more than so many, drawn by lot."""
    format: Literal["base", "chat"] = "base"
    """Put items as text to continue, or as a conversation that the assistant continues."""
    boundary: bool = True
    """Begin every text with the token that begins documents, if the model has one. lm-evaluation-harness does not."""
    other: Annotated[Path | None, Input("benchmark")] = None
    """The scores of another model on the same items, to compare with, item by item."""
    seed: Annotated[int, Ge(0)] = 0
    """Decides which examples and which items are drawn."""


@dataclass(frozen=True)
class ConductOptions:
    """Try how a model behaves: requests that it should refuse, others that only sound so, names swapped, words of a list."""

    model: Annotated[Path, Input("model")]
    """The model to try; it must have been taught conversations."""
    words: Annotated[Path | None, Input()] = None
    """A list of words that should not come up in answers, one a line. None comes with ropewalk."""
    answer_tokens: Annotated[int, Gt(0)] = 60
    """Longest answer, in tokens."""


@dataclass(frozen=True)
class ReportOptions:
    """Put all that is known about a model on one page."""

    evaluation: Annotated[Path, Input("evaluation"), Leading]
    """The evaluation to show; the artifacts behind it are found through its lineage. Or the folder of a run that holds it:
    then what else was measured of the same model there is shown too."""
    other: Annotated[Path | None, Input("evaluation"), Leading] = None
    """Another evaluation, or run, to compare it with: the tables of both, and the answers that differ."""
    sweep: Annotated[Path | None, Input("sweep")] = None
    """A sweep of models like it: the law between loss and work."""
    benchmarks: Annotated[tuple[Path, ...], Input("benchmark")] = ()
    """Scores on benchmarks, its own and others', beside their baselines."""
    conduct: Annotated[Path | None, Input("conduct")] = None
    """How it behaved."""
    price_per_hour: Annotated[float, Gt(0)] | None = None
    """What an hour of the machine cost that all was made on, in any currency: tells what the model cost."""


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


def run_tasks(options: TasksOptions, *, out: Path, force: bool = False) -> Artifact:
    """Write problems with their answers into the artifact `out`.

    Raises:
        OptionError: no source or names where they are needed.
        InputError: a row that is none of that data set, or too few. MachineError: a package is missing.
    """
    if options.source is None and options.dataset not in ("arithmetic", "gym", "humaneval"):
        raise OptionError(f"the data set {options.dataset} is read from a file of yours: give --source")
    if options.dataset == "gym" and not options.names:
        raise OptionError("reasoning-gym has many data sets: give some --names, such as basic_arithmetic")
    from ropewalk.evaluate.tasks import make_tasks

    return build_stage(TASKS, options, out=out, force=force, make=lambda part: make_tasks(options, part))


def run_eval(options: EvalOptions, *, out: Path, force: bool = False) -> Artifact:
    """Measure a model into the artifact `out`.

    Raises:
        ArtifactError: model, tokens, corpus and index do not belong together.
        InputError: nothing is held out, or a line of the questions or the truth is wrong.
    """
    for name in ("question_samples", "tools"):
        if getattr(options, name) and options.questions is None:
            flag = name.replace("_", "-")
            raise OptionError(f"ropewalk eval: --{flag} is about answers, give --questions too")
    from ropewalk.evaluate.measure import make_evaluation

    return build_stage(EVAL, options, out=out, force=force, make=lambda part: make_evaluation(options, part))


def run_benchmark(options: BenchmarkOptions, *, out: Path, force: bool = False) -> Artifact:
    """Score a model on a benchmark into the artifact `out`.

    Raises:
        InputError: a row that is none of that benchmark, an item that the model cannot read, too few examples, or another
            model's scores on other items.
    """
    from ropewalk.evaluate.scored import make_benchmark

    return build_stage(BENCHMARK, options, out=out, force=force, make=lambda part: make_benchmark(options, part))


def run_conduct(options: ConductOptions, *, out: Path, force: bool = False) -> Artifact:
    """Try a model's conduct into the artifact `out`.

    Raises:
        InputError: a model that was taught no conversations, or an empty list of words.
    """
    from ropewalk.evaluate.conduct import make_conduct

    return build_stage(CONDUCT, options, out=out, force=force, make=lambda part: make_conduct(options, part))


def run_report(options: ReportOptions, *, out: Path, force: bool = False) -> Artifact:
    """Write a page, its figures and a model card into the artifact `out`; the page loads nothing from elsewhere.

    Raises:
        ArtifactError: the evaluated model is gone.
        InputError: a run without an evaluation, or two evaluations of which only one asked questions.
    """
    from ropewalk.evaluate.report import make_report
    from ropewalk.evaluate.runs import with_runs_read

    options = with_runs_read(options)
    return build_stage(REPORT, options, out=out, force=force, make=lambda part: make_report(options, part))


def report_folder(options: ReportOptions) -> Path:
    """Where a report goes unless it is said: into the folder of its run."""
    from ropewalk.evaluate.runs import run_folder

    beside = f"_beside_{run_folder(options.other).name}" if options.other is not None else ""
    return run_folder(options.evaluation) / f"report{beside}"


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


def estimate_tasks(options: TasksOptions, amount: float) -> Estimate:
    """A thousand a second or more; hands problems on."""
    return Estimate(seconds=2, disk_bytes=500 * options.drawn, amount=options.drawn)


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


def estimate_benchmark(options: BenchmarkOptions, amount: float) -> Estimate:
    """`amount` is the model's parameters: 2 FLOPs for each and a token, some 300 tokens an item, 28 GFLOP/s a core."""
    from ropewalk.runtime.machine import cores

    items = options.items or 2000
    return Estimate(seconds=10 + items * 300 * 2 * amount / (28e9 * cores()), disk_bytes=400 * items)


def estimate_conduct(options: ConductOptions, amount: float) -> Estimate:
    """`amount` is the model's parameters: some 160 answers."""
    from ropewalk.runtime.machine import cores

    return Estimate(seconds=10 + 160 * options.answer_tokens * 2 * amount / (5e9 * cores()), disk_bytes=1e5)


def estimate_report(options: ReportOptions, amount: float) -> Estimate:
    """Plots and a page: seconds."""
    return Estimate(seconds=5, disk_bytes=1e6)
