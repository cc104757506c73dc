"""The table of verbs. A room is imported when its verb is called, and not before."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ropewalk.config import Estimate, Stage
from ropewalk.runtime.errors import OptionError


@dataclass(frozen=True)
class Verb:
    """One verb: where its options and its work are found, by name.

    stage, estimate: set for a verb that makes an artifact; it then takes --out and --force too.
    place: set where the artifact's path follows from the options; --out may then be left out.
    """

    name: str
    summary: str
    module: str
    options: str
    run: str
    stage: str = ""
    estimate: str = ""
    place: str = ""

    def load_options(self) -> type:
        """The dataclass whose fields are the verb's flags."""
        return getattr(import_module(self.module), self.options)

    def load_run(self) -> Callable[..., Any]:
        """The function that does the work."""
        return getattr(import_module(self.module), self.run)

    def load_stage(self) -> Stage:
        """What the verb makes."""
        return getattr(import_module(self.module), self.stage)

    def load_estimate(self) -> Callable[[Any, float], Estimate]:
        """What the verb is expected to take."""
        return getattr(import_module(self.module), self.estimate)

    def load_place(self) -> Callable[[Any], Path]:
        """Where the artifact goes unless --out says it."""
        return getattr(import_module(self.module), self.place)


def _stage(
    name: str, summary: str, module: str, options: str, *, stage: str = "STAGE", suffix: str = "", place: str = ""
) -> Verb:
    return Verb(name, summary, f"ropewalk.{module}", options, f"run{suffix}", stage, f"estimate{suffix}", place)


GROUPS: dict[str, tuple[Verb, ...]] = {
    "The line, from pages to a report": (
        _stage("atlas", "write a small web of real facts, to try the line on: -> site", "atlas", "AtlasOptions"),
        _stage("crawl", "fetch web pages, politely: sites -> pages (WARC)", "crawl", "CrawlOptions"),
        _stage(
            "classifier",
            "learn to tell wanted pages from others: labels -> classifier",
            "corpus",
            "ClassifierOptions",
            stage="CLASSIFIER",
            suffix="_classifier",
        ),
        _stage("corpus", "extract, filter and deduplicate: pages -> corpus (Parquet)", "corpus", "CorpusOptions"),
        _stage(
            "tokenizer",
            "learn a vocabulary: corpus -> tokenizer",
            "tokenizer",
            "TokenizerOptions",
            stage="TOKENIZER",
            suffix="_tokenizer",
        ),
        _stage(
            "tokenize",
            "write text as token ids: corpus or conversations -> tokens",
            "tokenizer",
            "TokenizeOptions",
            stage="TOKENIZE",
            suffix="_tokenize",
        ),
        _stage(
            "tasks",
            "problems with answers that can be checked: a data set -> tasks",
            "evaluate",
            "TasksOptions",
            stage="TASKS",
            suffix="_tasks",
        ),
        _stage("pretrain", "train a model: tokens -> model", "pretrain", "PretrainOptions"),
        _stage(
            "sft", "teach a model to answer: conversations -> model", "posttrain", "SftOptions", stage="SFT", suffix="_sft"
        ),
        _stage(
            "grpo",
            "reward a model for right answers: tasks -> model",
            "posttrain",
            "GrpoOptions",
            stage="GRPO",
            suffix="_grpo",
        ),
        _stage(
            "ppo",
            "the same with a value head: tasks -> model",
            "posttrain",
            "PpoOptions",
            stage="PPO",
            suffix="_ppo",
        ),
        _stage(
            "dpo",
            "prefer answers to others: pairs -> model",
            "posttrain",
            "DpoOptions",
            stage="DPO",
            suffix="_dpo",
        ),
        _stage(
            "kto",
            "learn from answers liked or not: judged answers -> model",
            "posttrain",
            "KtoOptions",
            stage="KTO",
            suffix="_kto",
        ),
        _stage(
            "reward",
            "teach a model to give answers a number: pairs -> reward model",
            "posttrain",
            "RewardOptions",
            stage="REWARD",
            suffix="_reward",
        ),
        _stage(
            "identity",
            "conversations in which an assistant says who it is: -> identity",
            "posttrain",
            "IdentityOptions",
            stage="IDENTITY",
            suffix="_identity",
        ),
        _stage(
            "probe",
            "find out what a model knows, and write lessons of it: questions -> probe",
            "posttrain",
            "ProbeOptions",
            stage="PROBE",
            suffix="_probe",
        ),
        _stage(
            "gate",
            "take a new model over if it lost nothing and people would prefer it: model -> model",
            "posttrain",
            "GateOptions",
            stage="GATE",
            suffix="_gate",
        ),
        _stage("index", "index the training pages: corpus and tokens -> index", "trace", "IndexOptions"),
        _stage("eval", "measure a model: model -> evaluation", "evaluate", "EvalOptions", stage="EVAL", suffix="_eval"),
        _stage(
            "benchmark",
            "score a model on a published benchmark: model -> benchmark",
            "evaluate",
            "BenchmarkOptions",
            stage="BENCHMARK",
            suffix="_benchmark",
        ),
        _stage(
            "conduct",
            "what a model refuses, and whom it treats otherwise: model -> conduct",
            "evaluate",
            "ConductOptions",
            stage="CONDUCT",
            suffix="_conduct",
        ),
        _stage(
            "report",
            "put all of it on one page, or two runs side by side: evaluation -> report",
            "evaluate",
            "ReportOptions",
            stage="REPORT",
            suffix="_report",
            place="report_folder",
        ),
        _stage(
            "ablate",
            "learn what each rule is worth to a model: corpus -> ablation",
            "evaluate",
            "AblateOptions",
            stage="ABLATE",
            suffix="_ablate",
        ),
        _stage(
            "sweep",
            "learn how loss falls with work: tokens -> sweep",
            "evaluate",
            "SweepOptions",
            stage="SWEEP",
            suffix="_sweep",
        ),
    ),
    "Talking to a model": (
        _stage(
            "import",
            "take in a model made elsewhere: GGUF or Hugging Face -> model",
            "model",
            "ImportOptions",
            stage="IMPORT",
            suffix="_import",
        ),
        Verb(
            "export", "write a model as a GGUF file, for llama.cpp", "ropewalk.model.gguf_out", "ExportOptions", "run_export"
        ),
        Verb("generate", "continue a text", "ropewalk.engine", "GenerateOptions", "run_generate"),
        Verb("chat", "talk in the terminal", "ropewalk.serve", "ChatOptions", "run_chat"),
        Verb("serve", "an API as OpenAI's, and a chat page", "ropewalk.serve", "ServeOptions", "run_serve"),
    ),
    "Who may ask a server": (
        Verb("keys add", "make a key for somebody", "ropewalk.serve", "AddKeyOptions", "run_add_key"),
        Verb("keys list", "whose keys there are, and what they open", "ropewalk.serve", "ListKeysOptions", "run_list_keys"),
        Verb("keys remove", "let a key open nothing any more", "ropewalk.serve", "RemoveKeyOptions", "run_remove_key"),
    ),
    "What people say of the answers": (
        _stage(
            "feedback export",
            "judgements as files that dpo, reward and kto read: store -> feedback",
            "serve",
            "ExportFeedbackOptions",
            stage="FEEDBACK",
            suffix="_export_feedback",
        ),
        Verb(
            "feedback leaderboard",
            "how strong models are, by which answers were preferred",
            "ropewalk.serve",
            "LeaderboardOptions",
            "run_leaderboard",
        ),
    ),
    "Recipes": (
        Verb("init", "write a recipe for your own pages", "ropewalk.cli.init", "InitOptions", "run_init"),
        Verb("run", "make all artifacts of a recipe, in order", "ropewalk.cli.run", "RunOptions", "run_recipe"),
    ),
    "Looking": (
        Verb("show", "what an artifact is and how it was made", "ropewalk.cli.show", "ShowOptions", "run_show"),
        Verb(
            "verify",
            "hash every byte of artifacts against their manifests",
            "ropewalk.cli.show",
            "VerifyOptions",
            "run_verify",
        ),
        Verb("why", "what happened to a page, and which rule decided it", "ropewalk.corpus.why", "WhyOptions", "run_why"),
        Verb("plan", "what a corpus of so many pages will take", "ropewalk.corpus.plan", "PlanOptions", "run_plan"),
        Verb("size", "what a model of such a depth is and takes", "ropewalk.pretrain.size", "SizeOptions", "run_size"),
        Verb("trace", "find the training pages that a text repeats", "ropewalk.trace.trace", "TraceOptions", "run_trace"),
        Verb("lineage", "follow an artifact back to its pages", "ropewalk.cli.lineage", "LineageOptions", "run_lineage"),
        Verb(
            "completion",
            "a script that lets the shell complete verbs and flags",
            "ropewalk.cli.completion",
            "CompletionOptions",
            "run_completion",
        ),
        Verb(
            "doctor",
            "what this machine has, what is missing, how to mend it",
            "ropewalk.runtime.doctor",
            "DoctorOptions",
            "run_doctor",
        ),
    ),
}

VERBS = {verb.name: verb for verbs in GROUPS.values() for verb in verbs}
STAGE_VERBS = {name: verb for name, verb in VERBS.items() if verb.stage}


def joined(arguments: list[str]) -> list[str]:
    """The arguments with a verb of two words as one of them."""
    two = " ".join(arguments[:2])
    return [two, *arguments[2:]] if len(arguments) > 1 and two in VERBS else arguments


def overview() -> str:
    """All verbs in the order of the line: what `ropewalk --help` prints."""
    lines = ["usage: ropewalk VERB [OPTIONS]", "", "From raw web pages to a chat model that people can verify."]
    for title, verbs in GROUPS.items():
        width = max(11, *(len(verb.name) + 2 for verb in verbs))
        lines += ["", f"{title}:", *(f"  {verb.name:<{width}}{verb.summary}" for verb in verbs)]
    return "\n".join([*lines, "", "'ropewalk VERB --help' explains a verb; 'ropewalk --version' prints the version."])


def unknown_verb(name: str) -> OptionError:
    """The sentence for a verb that does not exist."""
    close = difflib.get_close_matches(name, VERBS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "'ropewalk --help' lists them"
    return OptionError(f"there is no verb {name!r}; {hint}")
