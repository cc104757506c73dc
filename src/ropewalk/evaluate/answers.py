"""Put questions to a model, grade what it answers, and look up which training pages support it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ropewalk.engine.confidence import confidence
from ropewalk.engine.engine import Engine, Token
from ropewalk.engine.sampling import Sampling
from ropewalk.engine.tools import Conversed, Heard, Tool, converse, conversed, conversing
from ropewalk.evaluate.questions import Grade, Graded, Question, all_graded, refuses
from ropewalk.evaluate.truth import Fact, Truth
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.lines import read_objects, write_objects
from ropewalk.runtime.progress import progress
from ropewalk.runtime.seeds import derive_seed
from ropewalk.tokenizer.chat import render_prompt, with_told
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.thinking import parted
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
class ToolUse:
    """A call of a tool on the way to an answer, and what came of it."""

    name: str
    arguments: dict[str, Any]
    result: str


@dataclass(frozen=True)
class Answer:
    """A question and what a model made of it: a line of answers.jsonl.

    confidence: the smallest probability of the answer's tokens.
    checkable: some page of the known truth states the fact asked for.
    evidence: best first; None where no index was asked.
    calls: of tools, before the answer. thoughts: what it thought at last, which is neither graded nor looked up.
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
    calls: tuple[ToolUse, ...] = ()
    thoughts: str = ""

    @property
    def claims(self) -> bool:
        """Whether it says something: all but "I don't know"."""
        return not refuses(self.answer)


def question_prompts(
    tokenizer: Tokenizer, questions: Sequence[Question], *, context_tokens: int, tools: Sequence[Tool] = ()
) -> list[list[int]]:
    """What a model reads of each question; the system message tells of the tools.

    Raises:
        InputError: a question that leaves no room for an answer in the model's context.
    """
    described = [tool.described for tool in tools]
    prompts = [render_prompt(tokenizer, with_told(question.messages, described)) for question in questions]
    for question, prompt in zip(questions, prompts, strict=True):
        if len(prompt) >= context_tokens:
            raise InputError(
                f"question {question.id!r} has {len(prompt)} tokens, the model reads {context_tokens - 1}: shorten it"
            )
    return prompts


def ask(
    engine: Engine, questions: Sequence[Question], *, max_tokens: int, tools: Sequence[Tool] = (), tool_rounds: int = 0
) -> list[Answer]:
    """Put all questions to a model, greedily, and grade its answers; it may call tools, `tool_rounds` times at most.

    Raises:
        InputError: as `question_prompts`.
    """
    engine, prompts = _ready(engine, questions, max_tokens, tools)
    events: list[list[Token | Heard]] = [[] for _ in questions]
    samplings = [Sampling(max_tokens, temperature=0.0)] * len(prompts)
    with progress("questions", total=len(questions), unit="questions") as bar:
        for event in conversing(engine, prompts, samplings, tools, most_rounds=tool_rounds):
            events[event.request].append(event)
            if isinstance(event, Heard):
                bar.advance(-1)  # its turn was not the last
            elif event.finish is not None:
                bar.advance()
    talks = [conversed(some) for some in events]
    grades = all_graded([(question, talk.made.text) for question, talk in zip(questions, talks, strict=True)])
    return [_answer(*answered) for answered in zip(questions, talks, grades, strict=True)]


def say_greedily(engine: Engine, prompts: Sequence[Sequence[int]], *, max_tokens: int) -> list[str]:
    """What a model says behind each prompt, the most probable token at a time."""
    slots = slots_for(engine.model, max(map(len, prompts), default=1) + max_tokens)
    engine = Engine(engine.model, engine.tokenizer, engine.stop_ids, slots=slots)
    texts = [""] * len(prompts)
    with progress("answers", total=len(prompts), unit="answers") as bar:
        for token in engine.stream(prompts, [Sampling(max_tokens, temperature=0.0)] * len(prompts)):
            texts[token.request] += token.text
            if token.finish is not None:
                bar.advance()
    return texts


def ask_often(
    engine: Engine,
    questions: Sequence[Question],
    samplings: Sequence[Sampling],
    *,
    tools: Sequence[Tool] = (),
    tool_rounds: int = 0,
) -> list[list[tuple[str, Graded]]]:
    """Draw answers to each question, as many as there are samplings, and grade them. A seed holds for one question only.

    Raises:
        InputError: as `question_prompts`.
    """
    engine, prompts = _ready(engine, questions, max(one.max_tokens for one in samplings), tools)
    requests = [
        (place, replace(sampling, seed=derive_seed("answer", sampling.seed, question.id)))
        for place, question in enumerate(questions)
        for sampling in samplings
    ]
    asked = [prompts[place] for place, _ in requests]
    talks = converse(engine, asked, [sampling for _, sampling in requests], tools, most_rounds=tool_rounds)
    texts = [talk.made.text for talk in talks]
    grades = all_graded([(questions[place], text) for (place, _), text in zip(requests, texts, strict=True)])
    found = list(zip(texts, grades, strict=True))
    return [found[start : start + len(samplings)] for start in range(0, len(found), len(samplings))]


def _ready(
    engine: Engine, questions: Sequence[Question], max_tokens: int, tools: Sequence[Tool]
) -> tuple[Engine, list[list[int]]]:
    """An engine with as many slots as answers to these questions allow, and their prompts."""
    context_tokens = engine.model.config.context_tokens
    prompts = question_prompts(engine.tokenizer, questions, context_tokens=context_tokens, tools=tools)
    slots = slots_for(engine.model, max(map(len, prompts), default=1) + max_tokens)
    return Engine(engine.model, engine.tokenizer, engine.stop_ids, slots=slots), prompts


def _answer(question: Question, talk: Conversed, graded: Graded) -> Answer:
    thoughts, said = parted(talk.made.text)
    calls = [
        ToolUse(call.name, call.arguments, result)
        for heard in talk.heard
        for call, result in zip(heard.calls, heard.results, strict=True)
    ]
    return Answer(
        id=question.id,
        group=question.group,
        relation=question.relation,
        subject=question.subject,
        question=question.text,
        value=question.value,
        refuse=question.refuse,
        answer=said,
        grade=graded.grade,
        confidence=round(confidence(talk.last_logprobs), 4),
        calls=tuple(calls),
        thoughts=thoughts,
    )


def slots_for(model: Transformer, tokens: int, *, most: int = MOST_SLOTS) -> int:
    """How many sequences of so many tokens to answer at once: `most`, or as many as half a gigabyte of their keys and values
    has room for. The cache grows in powers of two, up to the model's context."""
    config = model.config
    held_tokens = min(1 << (tokens - 1).bit_length(), config.context_tokens)
    slot_bytes = 4 * 2 * config.layers * config.key_value_heads * config.head_width * held_tokens
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
    write_objects(path, map(asdict, answers))


def read_answers(path: Path) -> list[Answer]:
    """The answers in a file that `write_answers` wrote."""
    answers = []
    for _, fields in read_objects(path):
        evidence, calls = fields.pop("evidence"), fields.pop("calls", ())  # those of earlier versions have none
        sources = None if evidence is None else tuple(Source(**source) for source in evidence)
        answers.append(Answer(**fields, evidence=sources, calls=tuple(ToolUse(**call) for call in calls)))
    return answers
