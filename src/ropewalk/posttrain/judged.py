"""Answers that people judged, as JSONL: pairs for `dpo` and `reward`, lone ones for `kto`.

    {"prompt": [messages], "chosen": [messages], "rejected": [messages]}      or without a prompt, both beginning alike;
                                                                              "margin" says by how much it is better
    {"prompt": [messages], "completion": [messages], "label": true}

as trl reads them: an answer may also be a text, or begin with the prompt once more. Other keys do not matter, but for "id",
which says what a row is: rows are told apart by it, else by what they hold.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ropewalk.runtime.errors import InputError
from ropewalk.runtime.lines import read_objects
from ropewalk.tokenizer.chat import Message, check_messages


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt, the first of which was preferred; `margin` says by how much more, for a reward model."""

    id: str
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    margin: float = 0.0


@dataclass(frozen=True)
class Thumb:
    """An answer that was liked, or not."""

    id: str
    prompt: tuple[Message, ...]
    answer: tuple[Message, ...]
    good: bool


Row = TypeVar("Row", Pair, Thumb)


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a JSONL file, in its order.

    Raises:
        InputError: a line that is no pair, or whose two answers are the same; names file and line.
    """
    pairs: dict[str, Pair] = {}
    for where, fields in read_objects(path):
        chosen, rejected = (_answer(fields, key, where=where) for key in ("chosen", "rejected"))
        prompt = _prompt(fields, where=where)
        if prompt is None:
            prompt, chosen, rejected = _parted(chosen, rejected)
        elif chosen[: len(prompt)] == prompt == rejected[: len(prompt)]:
            chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
        for key, answer in (("chosen", chosen), ("rejected", rejected)):
            _check_answer(prompt, answer, where=f"{where}: {key}")
        if chosen == rejected:
            raise InputError(f"{where}: chosen and rejected are the same: leave the line out, nothing can be learned of it")
        margin = fields.get("margin") or 0.0
        if not isinstance(margin, int | float):
            raise InputError(f'{where}: "margin" must be a number')
        _keep(pairs, Pair(_id(fields), prompt, chosen, rejected, float(margin)), where=where)
    return _some(pairs, path)


def read_thumbs(path: Path) -> list[Thumb]:
    """The judged answers of a JSONL file, in its order.

    Raises:
        InputError: a line that is no judged answer; names file and line.
    """
    thumbs: dict[str, Thumb] = {}
    for where, fields in read_objects(path):
        prompt, answer = _prompt(fields, where=where), _answer(fields, "completion", where=where)
        if prompt is None:
            raise InputError(f'{where}: there is no "prompt": give the messages that were answered')
        _check_answer(prompt, answer, where=f"{where}: completion")
        if not isinstance(fields.get("label"), bool):
            raise InputError(f'{where}: "label" must be true or false')
        _keep(thumbs, Thumb(_id(fields), prompt, answer, fields["label"]), where=where)
    return _some(thumbs, path)


def _prompt(fields: dict[str, Any], *, where: str) -> tuple[Message, ...] | None:
    value = fields.get("prompt")
    if value is None:
        return None
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    return tuple(check_messages(value, where=f"{where}: prompt"))


def _answer(fields: dict[str, Any], key: str, *, where: str) -> tuple[Message, ...]:
    value = fields.get(key)
    if isinstance(value, str):
        value = [{"role": "assistant", "content": value}]
    if not isinstance(value, list):
        raise InputError(f'{where}: "{key}" must be a list of messages, or a text')
    return tuple(check_messages(value, where=f"{where}: {key}")) if value else ()


def _parted(chosen: Sequence[Message], rejected: Sequence[Message]) -> tuple[tuple[Message, ...], ...]:
    """What both have in common at the beginning, and what is left of each."""
    common = 0
    while common < min(len(chosen), len(rejected)) and chosen[common] == rejected[common]:
        common += 1
    return tuple(chosen[:common]), tuple(chosen[common:]), tuple(rejected[common:])


def _check_answer(prompt: Sequence[Message], answer: Sequence[Message], *, where: str) -> None:
    if not prompt or prompt[-1]["role"] == "assistant":
        raise InputError(f"{where} answers nothing: the prompt must end with what the user, or a tool, says")
    if not answer or answer[0]["role"] != "assistant":
        raise InputError(f"{where} must begin with what the assistant says")


def _id(fields: dict[str, Any]) -> str:
    given = fields.get("id")
    return str(given) if given is not None else json.dumps(fields, sort_keys=True, ensure_ascii=False)


def _keep(rows: dict[str, Row], row: Row, *, where: str) -> None:
    """Take a row, once however often it is there."""
    if rows.setdefault(row.id, row) != row:
        raise InputError(f"{where}: another row has the id {row.id!r}: give each its own")


def _some(rows: dict[str, Row], path: Path) -> list[Row]:
    if not rows:
        raise InputError(f"{path} holds no judged answer: write one object a line")
    return list(rows.values())
