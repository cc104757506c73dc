"""Find out what a model knows, and teach it to say so where it does not (Dubey et al. 2024, Llama 3, section 4.3.6).

Each question is answered several times and every answer graded. Where the model is mostly right, it is taught a right answer
of its own, and so nothing that it did not know: the most probable one if that is right, since what a small model draws may
name the right thing in the midst of nonsense. Where it never is, it is taught to say that it does not know, in words that
vary; what lies between teaches nothing. Where not to know is the right answer, that is taught.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ropewalk.artifact import Part
from ropewalk.engine.engine import Engine
from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.evaluate.answers import Answer, ask, ask_often, read_answers, write_answers
from ropewalk.evaluate.page import environment
from ropewalk.evaluate.plots import Series, line_plot
from ropewalk.evaluate.questions import Question, read_questions
from ropewalk.evaluate.scores import abstention
from ropewalk.posttrain import ProbeOptions
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.lines import read_objects, write_objects
from ropewalk.runtime.progress import progress
from ropewalk.runtime.seeds import derive_seed, generator

PROBED, ANSWERS, FIGURES, PAGE = "probed.jsonl", "answers.jsonl", "probe.json", "index.html"
CONVERSATIONS, PREFERENCES = "conversations.jsonl", "preferences.jsonl"
REFUSALS = (
    "I don't know.",
    "I don't know that.",
    "I'm sorry, I don't know.",
    "I don't know the answer to that.",
    "That is something I don't know.",
    "I don't know, and I would rather not guess.",
    "I'm afraid I don't know.",
    "I don't know enough about that to say.",
)
TOGETHER = 32  # questions between two savings

Verdict = Literal["known", "unsure", "unknown", "unknowable"]
VERDICTS: tuple[Verdict, ...] = ("known", "unsure", "unknown", "unknowable")


@dataclass(frozen=True)
class Probed:
    """How often a question was answered rightly, and the right and the other answer that were given most often."""

    id: str
    verdict: Verdict
    right: int
    samples: int
    answer: str | None
    mistake: str | None


def make_probe(options: ProbeOptions, part: Part) -> dict[str, Any]:
    """Ask, judge, write the files, and return the facts."""
    questions = read_questions(options.questions)
    before = _before(options.before, questions) if options.before else None
    engine = load_engine(options.model, slots=1)
    probed = _probed(engine, questions, options, part.scratch / PROBED)
    answers = ask(engine, questions, max_tokens=options.max_tokens)
    write_answers(answers, part.folder / ANSWERS)
    write_objects(part.folder / PROBED, (asdict(one) for one in probed))
    lessons = _lessons(questions, probed, answers, options)
    write_objects(
        part.folder / CONVERSATIONS, ({"messages": [*question.messages, _says(text)]} for question, text in lessons)
    )
    pairs = _pairs(questions, probed, options)
    write_objects(part.folder / PREFERENCES, pairs)
    known_before, answers_before = before or (probed, None)
    figures = {
        "greedy": _grades(known_before, answers),
        "before": None if answers_before is None else _grades(known_before, answers_before),
    }
    (part.folder / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    (part.folder / PAGE).write_text(_page(options, figures, answers, answers_before), encoding="utf-8")
    counted = Counter(one.verdict for one in probed)
    return {
        **{verdict: counted[verdict] for verdict in VERDICTS},
        "conversations": len(lessons),
        "pairs": len(pairs),
        "wrong_greedily": sum(one.grade == "wrong" for one in answers),
    }


def _probed(engine: Engine, questions: Sequence[Question], options: ProbeOptions, path: Path) -> list[Probed]:
    """The verdict on each question; those that an interrupted run has found are read."""
    found = [Probed(**fields) for _, fields in read_objects(path)] if path.exists() else []
    with progress("probe", total=len(questions), unit="questions", done=len(found)) as bar:
        for start in range(len(found), len(questions), TOGETHER):
            batch = questions[start : start + TOGETHER]
            found += _ask_often(engine, batch, options)
            draft = path.with_suffix(".draft")
            write_objects(draft, (asdict(one) for one in found))
            draft.replace(path)
            bar.advance(len(batch))
    return found


def _ask_often(engine: Engine, questions: Sequence[Question], options: ProbeOptions) -> list[Probed]:
    samplings = [
        Sampling(options.max_tokens, temperature=options.temperature, seed=derive_seed("probe", options.seed, number))
        for number in range(options.samples)
    ]
    found = []
    for question, answers in zip(questions, ask_often(engine, questions, samplings), strict=True):
        texts = [(text.strip(), graded.grade == "right") for text, graded in answers]
        right = sum(is_right for _, is_right in texts)
        answer, mistake = (_commonest([text for text, is_right in texts if is_right == wanted]) for wanted in (True, False))
        verdict = _verdict(question, right, options)
        found.append(Probed(question.id, verdict, right, options.samples, answer, mistake))
    return found


def _commonest(texts: Sequence[str]) -> str | None:
    return Counter(texts).most_common(1)[0][0] if texts else None


def _verdict(question: Question, right: int, options: ProbeOptions) -> Verdict:
    if question.refuse:
        return "unknowable"
    if right >= max(1, options.known_fraction * options.samples):
        return "known"
    return "unknown" if right <= options.unknown_fraction * options.samples else "unsure"


def _lessons(
    questions: Sequence[Question], probed: Sequence[Probed], greedy: Sequence[Answer], options: ProbeOptions
) -> list[tuple[Question, str]]:
    """What is to be said to each question that teaches something, in their order."""
    answered = {
        one.id: most_probable.answer.strip() if most_probable.grade == "right" else one.answer
        for one, most_probable in zip(probed, greedy, strict=True)
        if one.verdict == "known" and one.answer
    }
    refused = [one.id for one in probed if one.verdict in ("unknown", "unknowable")]
    draws = generator("probe lessons", options.seed)
    most = int(len(answered) * options.refused_fraction / (1 - options.refused_fraction))
    if not answered and options.refused_fraction:
        most = len(refused)
    chosen = {refused[place] for place in draws.permutation(len(refused))[:most].tolist()}
    lessons = []
    for question in questions:
        refusal = REFUSALS[int(draws.integers(len(REFUSALS)))]
        if (answer := answered.get(question.id)) is not None:
            lessons.append((question, answer))
        elif question.id in chosen:
            lessons.append((question, refusal))
    return lessons


def _pairs(questions: Sequence[Question], probed: Sequence[Probed], options: ProbeOptions) -> list[dict[str, Any]]:
    """A right answer beside another, of each question that had both; some the wrong way round, if that is asked for."""
    draws = generator("probe pairs", options.seed)
    pairs = []
    for question, one in zip(questions, probed, strict=True):
        if one.answer is not None and one.mistake is not None:
            both = [one.answer, one.mistake]
            chosen, rejected = both[::-1] if draws.random() < options.flipped_fraction else both
            pairs.append({"id": one.id, "prompt": list(question.messages), "chosen": chosen, "rejected": rejected})
    return pairs


def _before(folder: Path, questions: Sequence[Question]) -> tuple[list[Probed], list[Answer]]:
    """What an earlier probe of the same questions found.

    Raises:
        InputError: it asked others.
    """
    probed = [Probed(**fields) for _, fields in read_objects(folder / PROBED)]
    if [one.id for one in probed] != [question.id for question in questions]:
        raise InputError(f"{folder} asked other questions: probe the earlier model on the same file, or leave --before out")
    return probed, read_answers(folder / ANSWERS)


def _grades(probed: Sequence[Probed], answers: Sequence[Answer]) -> dict[str, dict[str, int]]:
    """How many greedy answers got each grade, by what the verdict on their question was."""
    counted = Counter((one.verdict, answer.grade) for one, answer in zip(probed, answers, strict=True))
    return {
        verdict: {grade: counted[verdict, grade] for grade in ("right", "refused", "wrong")}
        for verdict in VERDICTS
        if any(verdict == one.verdict for one in probed)
    }


def _page(
    options: ProbeOptions, figures: Mapping[str, Any], answers: Sequence[Answer], before: Sequence[Answer] | None
) -> str:
    curves = [Series("now", *abstention(answers))]
    if before is not None:
        curves.append(replace(Series("before", *abstention(before)), dashed=True))
    plot = line_plot(curves, x_label="share of the questions that are answered", y_label="right among those")
    return (
        environment("ropewalk.posttrain")
        .get_template("probe.html.jinja")
        .render(title=options.model.resolve().name, samples=options.samples, figures=figures, plot=plot)
    )


def _says(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}
