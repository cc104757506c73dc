"""Make an evaluation: what the model is worth on held-out documents, what became of pages, how questions are answered."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from ropewalk.artifact import Artifact, Part, open_artifact
from ropewalk.engine.engine import Engine
from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.engine.tools import Tool, tools_of
from ropewalk.evaluate import EvalOptions
from ropewalk.evaluate.answers import ANSWERS, Answer, ask, ask_often, untrained, with_evidence, write_answers
from ropewalk.evaluate.filters import filter_table, page_samples
from ropewalk.evaluate.language import language_figures
from ropewalk.evaluate.lineage import model_chain, read_by
from ropewalk.evaluate.passes import Drawn, pass_figures
from ropewalk.evaluate.questions import Question, read_questions
from ropewalk.evaluate.scores import grouped, question_figures
from ropewalk.evaluate.truth import Truth, read_truth
from ropewalk.evaluate.verbatim import verbatim_figures
from ropewalk.runtime.errors import ArtifactError
from ropewalk.runtime.lines import write_objects
from ropewalk.runtime.progress import say
from ropewalk.tokenizer.comparison import compare
from ropewalk.tokenizer.origin import made_with
from ropewalk.trace.index import Index

EVALUATION, SAMPLES = "evaluation.json", "samples.jsonl"


def make_evaluation(options: EvalOptions, part: Part) -> dict[str, Any]:
    """Write evaluation.json, and where there are questions answers.jsonl, and samples.jsonl if answers are drawn.

    Returns the main figures as facts.
    """
    chain = _check_belonging(options)
    questions = read_questions(options.questions) if options.questions else []
    truth = read_truth(options.truth) if options.truth else None
    engine = load_engine(options.model)
    figures = language_figures(options, engine)
    figures["vocabulary"] = compare(engine.tokenizer, options.corpus)
    figures["pages"] = page_samples(options.corpus, truth)
    if options.index is not None:
        with Index.open(options.index) as index:
            figures["verbatim"] = verbatim_figures(index, [sample["text"] for sample in figures["samples"]], options.corpus)
    if truth is not None:
        figures["filter"] = filter_table(truth, options.corpus)
    if questions:
        tools = tools_of(options.tools, index=options.index)
        answers = _answers(options, engine, questions, truth, tools)
        write_answers(answers, part.folder / ANSWERS)
        asked_first = _first_of_groups(questions, options.untrained_questions)
        at_first = ask(untrained(engine, chain[-1].options.get("seed", 0)), asked_first, max_tokens=options.answer_tokens)
        figures["questions"] = question_figures(questions, answers, at_first)
        if options.question_samples:
            drawn = _drawn(options, engine, questions, tools)
            write_objects(part.folder / SAMPLES, map(asdict, drawn))
            figures["questions"]["passes"] = pass_figures(grouped(drawn, lambda one: one.group))
    (part.folder / EVALUATION).write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for line in headlines(figures):
        say(line)
    return _facts(figures)


def _facts(figures: dict[str, Any]) -> dict[str, Any]:
    """The main figures, for the manifest."""
    facts = {key: figures[key] for key in ("documents", "bytes", "bits_per_byte", "baseline_tokens", "perplexity_per_token")}
    if verbatim := figures.get("verbatim"):
        facts["verbatim"] = {name: row["fraction"] for name, row in verbatim.items()}
    if asked := figures.get("questions"):
        facts["questions"] = asked["asked"]
        facts["accuracy"] = {row["group"]: row["accuracy"]["share"] for row in asked["groups"]}
        facts["refused"] = {kind: asked["abstention"][kind]["share"] for kind in ("unanswerable", "answerable")}
        if passes := asked.get("passes"):
            facts["pass"] = {row["group"]: {str(one["k"]): one["share"] for one in row["pass"]} for row in passes}
        facts["evidence"] = asked["evidence"] and {
            name: asked["evidence"][name]["share"] for name in ("first_states_fact", "wrong_flagged", "right_flagged")
        }
    if filtered := figures.get("filter"):
        facts["filter"] = {name: filtered[name]["share"] for name in ("good_kept", "junk_dropped")}
        facts["filter"]["disallowed_crawled"] = filtered["disallowed_crawled"]
    return facts


def headlines(figures: dict[str, Any]) -> list[str]:
    """The main figures in words, a line each, for the terminal."""
    lines = [
        f"held-out bits per byte, {name.replace('_', ' ')}: {value:.3f}" for name, value in figures["bits_per_byte"].items()
    ]
    if verbatim := figures.get("verbatim"):
        shares = ", ".join(f"{name.replace('_', ' ')} {row['fraction'] or 0:.1%}" for name, row in verbatim.items())
        lines.append(f"text that stands in training pages word for word: {shares}")
    if filtered := figures.get("filter"):
        lines.append(f"good pages kept {_percent(filtered['good_kept'])}, junk dropped {_percent(filtered['junk_dropped'])}")
    if asked := figures.get("questions"):
        for row in asked["groups"]:
            name = row["group"].replace("_", " ")
            lines.append(f"questions, {name}: {_percent(row['accuracy'])} right, {row['wrong']} wrong")
        for row in asked.get("passes", ()):
            shares = ", ".join(f"pass@{one['k']} {one['share']:.1%}" for one in row["pass"])
            lines.append(f"{row['samples']} answers drawn, {row['group'].replace('_', ' ')}: {shares}")
        if evidence := asked["evidence"]:
            lines.append(
                f"right answers whose first page states the fact {_percent(evidence['first_states_fact'])}, "
                f"wrong ones flagged {_percent(evidence['wrong_flagged'])}"
            )
    return lines


def _percent(share: dict[str, Any]) -> str:
    return f"{share['share']:.1%} ({share['hits']} of {share['of']})" if share["of"] else "none"


def _drawn(options: EvalOptions, engine: Engine, questions: list[Question], tools: list[Tool]) -> list[Drawn]:
    samplings = [
        Sampling(options.answer_tokens, temperature=options.question_temperature, seed=number)
        for number in range(options.question_samples)
    ]
    found = ask_often(engine, questions, samplings, tools=tools, tool_rounds=options.tool_rounds)
    rights = [sum(graded.grade == "right" for _, graded in some) for some in found]
    return [
        Drawn(question.id, question.group, right, len(samplings)) for question, right in zip(questions, rights, strict=True)
    ]


def _answers(
    options: EvalOptions, engine: Engine, questions: list[Question], truth: Truth | None, tools: list[Tool]
) -> list[Answer]:
    answers = ask(engine, questions, max_tokens=options.answer_tokens, tools=tools, tool_rounds=options.tool_rounds)
    if options.index is None:
        return with_evidence(answers, None, truth)
    with Index.open(options.index) as index:
        return with_evidence(answers, index, truth)


def _first_of_groups(questions: list[Question], count: int) -> list[Question]:
    """At most `count` questions of each group, spread evenly over it."""
    chosen = []
    for some in grouped(questions, lambda question: question.group).values():
        places = np.linspace(0, len(some) - 1, min(count, len(some))).astype(int)
        chosen += [some[place] for place in places]
    return chosen


def _check_belonging(options: EvalOptions) -> list[Artifact]:
    """Check that all inputs belong together. Returns the model's chain.

    Of tokens that it was trained on, it has not read what is held out; of others that is not known, and said.
    """
    chain = model_chain(open_artifact(options.model, "model"))
    tokens = open_artifact(options.tokens, "tokens")
    corpus = open_artifact(options.corpus, "corpus")
    if not made_with(tokens, chain[0]):
        raise ArtifactError(f"{options.tokens} was not made with the tokenizer of {options.model}: make it with that one")
    if tokens.digest not in read_by(chain):
        say(f"{options.model} was not trained on {options.tokens}: whether it has read what is held out there is not known")
    if tokens.inputs.get("corpus", {}).get("digest") != corpus.digest:
        raise ArtifactError(f"{options.tokens} were not made from {options.corpus}: give the corpus they were made from")
    if options.index and open_artifact(options.index, "index").inputs["corpus"]["digest"] != corpus.digest:
        raise ArtifactError(f"{options.index} does not index {options.corpus}: give the index that was made from it")
    return chain
