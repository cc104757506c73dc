"""Put questions to a model, grade what it answers, and look up which training pages support it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from ropewalk.engine.confidence import confidence
from ropewalk.engine.engine import Engine
from ropewalk.engine.sampling import Sampling
from ropewalk.evaluate.questions import Grade, Question, grade, refuses
from ropewalk.evaluate.truth import Fact, Truth
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.lines import read_objects
from ropewalk.runtime.progress import progress
from ropewalk.runtime.seeds import derive_seed
from ropewalk.tokenizer.chat import render_prompt
from ropewalk.trace.index import Index

ANSWERS = "answers.jsonl"
CACHE_BYTES = 512_000_000
MOST_SLOTS = 64
EVIDENCE_PAGES = 3


@dataclass(frozen=True)
class Source:
    """A sentence of a training page that holds all the words of an answer.

    states_fact: whether the page states the fact that was asked for; None where that is not known.
    """

    url: str
    sentence: str
    states_fact: bool | None


@dataclass(frozen=True)
class Answer:
    """A question and what a model made of it: a line of answers.jsonl.

    confidence: the smallest probability of the answer's tokens.
    checkable: some page of the known truth states the fact asked for.
    evidence: best first; None where no index was asked.
    """

    id: str
    group: str
    relation: str
    subject: str
    question: str
    value: str | None
    refuse: bool
    answer: str
    grade: Grade
    confidence: float
    checkable: bool = False
    evidence: tuple[Source, ...] | None = None

    @property
    def claims(self) -> bool:
        """Whether it says something: all but "I don't know"."""
        return not refuses(self.answer)


def ask(engine: Engine, questions: Sequence[Question], *, max_tokens: int) -> list[Answer]:
    """Put all questions to a model, greedily, and grade its answers.

    Raises:
        InputError: a question that leaves no room for an answer in the model's context.
    """
    prompts = [render_prompt(engine.tokenizer, question.messages) for question in questions]
    room = engine.model.config.context_tokens
    for question, prompt in zip(questions, prompts, strict=True):
        if len(prompt) >= room:
            raise InputError(f"question {question.id!r} has {len(prompt)} tokens, the model reads {room - 1}: shorten it")
    engine = Engine(engine.model, engine.tokenizer, engine.stop_ids, slots=slots_for(engine.model))
    logprobs: list[list[float]] = [[] for _ in questions]
    texts = [""] * len(questions)
    with progress("questions", total=len(questions), unit="questions") as bar:
        for token in engine.stream(prompts, [Sampling(max_tokens, temperature=0.0)] * len(prompts)):
            logprobs[token.request].append(token.logprob)
            texts[token.request] += token.text
            if token.finish is not None:
                bar.advance()
    return [_graded(*answered) for answered in zip(questions, texts, logprobs, strict=True)]


def _graded(question: Question, text: str, logprobs: list[float]) -> Answer:
    return Answer(
        id=question.id,
        group=question.group,
        relation=question.relation,
        subject=question.subject,
        question=question.text,
        value=question.value,
        refuse=question.refuse,
        answer=text,
        grade=grade(question, text),
        confidence=round(confidence(logprobs), 4),
    )


def slots_for(model: Transformer, *, most: int = MOST_SLOTS) -> int:
    """How many sequences to answer at once: `most`, or as many as half a gigabyte of keys and values has room for."""
    config = model.config
    slot_bytes = 4 * 2 * config.layers * config.key_value_heads * config.head_width * config.context_tokens
    return max(1, min(most, CACHE_BYTES // slot_bytes))


def untrained(engine: Engine, seed: int) -> Engine:
    """The same model with the random weights that pretraining at `seed` begins from."""
    model = Transformer(engine.model.config)
    with torch.no_grad():
        model.initialize(derive_seed("weights", seed))
    return Engine(model.eval(), engine.tokenizer, engine.stop_ids, slots=1)


def with_evidence(answers: Sequence[Answer], index: Index | None, truth: Truth | None) -> list[Answer]:
    """The answers with the pages that support them: only what claims something is looked up."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    completed = []
    with progress("evidence", total=len(answers), unit="answers") as bar:
        for answer in answers:
            fact = Fact(answer.subject, answer.relation, answer.value or "")
            if index is not None and answer.claims:
                said = (answer.question, answer.answer)
                if said not in found:
                    pages = index.evidence(answer.answer, about=answer.question, limit=EVIDENCE_PAGES)
                    found[said] = [(one.url, one.sentence) for one in pages]
                sources = [
                    Source(url, sentence, truth.states(url, fact) if truth else None) for url, sentence in found[said]
                ]
                answer = replace(answer, evidence=tuple(sources))
            completed.append(replace(answer, checkable=truth is not None and fact in truth.stated))
            bar.advance()
    return completed


def write_answers(answers: Iterable[Answer], path: Path) -> None:
    """One JSON object a line, in the order of the questions."""
    lines = [json.dumps(asdict(answer), ensure_ascii=False) + "\n" for answer in answers]
    path.write_text("".join(lines), encoding="utf-8")


def read_answers(path: Path) -> list[Answer]:
    """The answers in a file that `write_answers` wrote."""
    answers = []
    for _, fields in read_objects(path):
        evidence = fields.pop("evidence")
        sources = None if evidence is None else tuple(Source(**source) for source in evidence)
        answers.append(Answer(**fields, evidence=sources))
    return answers
