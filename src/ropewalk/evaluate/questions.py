"""Questions with known answers, and the one grader of answers: evaluation counts its grades, training rewards them.

One JSON object a line, or a row of Parquet:

    {"id": "held_out/capital/FR/0", "group": "held_out", "relation": "capital", "subject": "France",
     "messages": [{"role": "user", "content": "What is the capital of France?"}],
     "value": "Paris", "accept": ["The capital of France is Paris.", "Paris"], "refuse": false,
     "baselines": {"most_frequent": "London", "by_continent": "London"}}

`accept` holds the whole answers that count, or what `checks` look for (see checks.py). `refuse` says that not to know is the
right answer; without an answer, `accept` may be left out. `value` is the fact alone, and `baselines` what simple rules would
answer in its place: both may be left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ropewalk.evaluate.checks import WHOLE, WITHOUT_ACCEPT, Check, read_checks, score
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.lines import read_objects
from ropewalk.runtime.machine import cores
from ropewalk.tokenizer.chat import Message, check_messages
from ropewalk.tokenizer.thinking import parted

Grade = Literal["right", "wrong", "refused"]

_NOT_KNOWING = re.compile(r"\bI\s+(do\s+not|don\W?t)\s+know\b", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """One question: `messages` are what is put to the model, and the last of them is the user's."""

    id: str
    group: str
    relation: str
    subject: str
    messages: tuple[Message, ...]
    value: str | None
    accept: tuple[str, ...]
    refuse: bool
    baselines: dict[str, str]
    checks: tuple[Check, ...] = WHOLE

    @property
    def text(self) -> str:
        """What the user asks, in the last message."""
        return self.messages[-1]["content"]


def read_questions(path: Path) -> list[Question]:
    """The questions of a JSONL file, in its order. Keys that are not named here do not matter.

    Raises:
        InputError: a line that is no question, or an id that is there twice; names the file and the line.
    """
    questions, seen = [], {}
    for where, fields in read_objects(path):
        question = _checked(fields, where=where)
        if question.id in seen:
            raise InputError(f"{where}: id {question.id!r} stands in {seen[question.id]} too: give each question its own")
        seen[question.id] = where
        questions.append(question)
    if not questions:
        raise InputError(f"{path} holds no question: write one object a line")
    return questions


@dataclass(frozen=True)
class Graded:
    """What an answer is worth.

    grade: right     its score is 1; where `refuse` is set, any text that says "I don't know"
           refused   it says "I don't know", and there was an answer
           wrong     all else
    score: how right it is, from 0 to 1; only some checks know anything between.
    """

    grade: Grade
    score: float


def graded(question: Question, text: str) -> Graded:
    """Grade a whole answer, without what was thought before it.

    Raises:
        MachineError: a check needs what this machine lacks.
    """
    text = parted(text)[1]
    reached = score(question.checks, text, question.accept)
    if reached >= 1 or (question.refuse and refuses(text)):
        return Graded("right", 1.0)
    return Graded("refused", 0.0) if refuses(text) else Graded("wrong", reached)


def all_graded(answers: Sequence[tuple[Question, str]]) -> list[Graded]:
    """Grade many, side by side: a check that runs programs mostly waits for them. Raises as `graded` does."""
    if not any(check.kind == "code" for question, _ in answers for check in question.checks):
        return [graded(question, text) for question, text in answers]
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(graded, *zip(*answers, strict=True)))


def refuses(text: str) -> bool:
    """Whether a text says that it does not know, whichever apostrophe it is written with."""
    return _NOT_KNOWING.search(text) is not None


def _checked(fields: dict[str, Any], *, where: str) -> Question:
    for name in ("id", "group", "relation", "subject"):
        if not isinstance(fields.get(name), str) or not fields[name]:
            raise InputError(f'{where}: "{name}" must be a text: give every question its id, group, relation and subject')
    messages = check_messages(fields.get("messages"), where=where)
    if messages[-1]["role"] != "user":
        raise InputError(f"{where}: the last message must be the user's question")
    refuse, accept, value = fields.get("refuse", False), fields.get("accept", []), fields.get("value")
    if not isinstance(refuse, bool):
        raise InputError(f'{where}: "refuse" must be true or false')
    if not isinstance(accept, list) or not all(isinstance(text, str) and text.strip() for text in accept):
        raise InputError(f'{where}: "accept" must be a list of the whole answers that count')
    checks = read_checks(fields.get("checks"), where=where)
    if not accept and not refuse and not all(check.kind in WITHOUT_ACCEPT for check in checks):
        raise InputError(f'{where}: no answer would be right: list some in "accept", or set "refuse" to true')
    if value is not None and not isinstance(value, str):
        raise InputError(f'{where}: "value" must be a text or null')
    baselines = fields.get("baselines") or {}
    if not isinstance(baselines, dict) or not all(isinstance(text, str | None) for text in baselines.values()):
        raise InputError(f'{where}: "baselines" must hold a text under each name')
    return Question(
        id=fields["id"],
        group=fields["group"],
        relation=fields["relation"],
        subject=fields["subject"],
        messages=tuple(messages),
        value=value,
        accept=tuple(accept),
        refuse=refuse,
        baselines={name: text for name, text in baselines.items() if text is not None},
        checks=checks,
    )
