"""Questions with known answers, and the one grader of answers: evaluation counts its grades, training rewards them.

One JSON object a line:

    {"id": "held_out/capital/FR/0", "group": "held_out", "relation": "capital", "subject": "France",
     "messages": [{"role": "user", "content": "What is the capital of France?"}],
     "value": "Paris", "accept": ["The capital of France is Paris.", "Paris"], "refuse": false,
     "baselines": {"most_frequent": "London", "by_continent": "London"}}

`accept` holds the whole answers that count; `refuse` says that not to know is the right answer, and `accept` may then be
left out. `value` is the fact alone, and `baselines` what simple rules would answer in its place: both may be left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ropewalk.runtime.errors import InputError
from ropewalk.runtime.lines import read_objects
from ropewalk.tokenizer.chat import Message, check_messages

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


def grade(question: Question, text: str) -> Grade:
    """Grade a whole answer.

    right     one of `accept`, letter for letter, but for white space around it and one final period;
              where `refuse` is set, any text that says "I don't know"
    refused   it says "I don't know", and there was an answer
    wrong     all else: more words, fewer words, another case
    """
    answer = text.strip()
    if any(agrees(answer, accepted) for accepted in question.accept):
        return "right"
    if refuses(answer):
        return "right" if question.refuse else "refused"
    return "wrong"


def refuses(text: str) -> bool:
    """Whether a text says that it does not know, whichever apostrophe it is written with."""
    return _NOT_KNOWING.search(text) is not None


def agrees(text: str, other: str) -> bool:
    """Whether two texts are the same, but for white space around them and one final period."""
    text, other = text.strip(), other.strip()
    return text == other or text.removesuffix(".") == other or text == other.removesuffix(".")


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
    if not accept and not refuse:
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
    )
