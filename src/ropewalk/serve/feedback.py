"""What people say of answers, in an SQLite file that only grows.

    answers       an answer as the server wrote it: what it answered, its tokens and their log-probabilities, by which model
    judgements    a thumb, a choice between two answers, or an edit
    retractions   judgements that were taken back

An answer comes into the file with its first judgement: what nobody judged is never written down. Rows are neither changed
nor deleted, which triggers hold; of several judgements of the same, the latest counts. Lists are JSON, so that SQLite's own
json_each reads them. WAL lets others read while a server writes, and synchronous = FULL has a row on the disk before
anybody is told that it is there.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from ropewalk.runtime.errors import MachineError
from ropewalk.serve.sqlite_file import BUSY_SECONDS, Form, open_file, transaction
from ropewalk.tokenizer.chat import Message

SCHEMA_VERSION = 1
APPLICATION_ID = 0x726F7065  # "rope": whose file it is
MOST_JUDGEMENTS = 100  # of one answer: nobody changes their mind as often

Kind = Literal["thumb", "choice", "edit"]
Value = Literal["good", "bad", "left", "right", "tie", "neither", "edited"]

_APPEND_ONLY = "\n".join(
    f"CREATE TRIGGER IF NOT EXISTS {table}_{verb} BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, 'append-only'); END;"
    for table in ("answers", "judgements", "retractions")
    for verb in ("UPDATE", "DELETE")
)
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS answers (
    id TEXT NOT NULL, choice INTEGER NOT NULL, created INTEGER NOT NULL, model TEXT NOT NULL, model_digest TEXT NOT NULL,
    messages TEXT NOT NULL, text TEXT NOT NULL, finish TEXT NOT NULL, prompt_ids TEXT NOT NULL, token_ids TEXT NOT NULL,
    logprobs TEXT NOT NULL, sampling TEXT NOT NULL, PRIMARY KEY (id, choice)
);
CREATE TABLE IF NOT EXISTS judgements (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, created REAL NOT NULL, kind TEXT NOT NULL,
    value TEXT NOT NULL, answer_id TEXT NOT NULL, answer_choice INTEGER NOT NULL, other_id TEXT, other_choice INTEGER,
    text TEXT NOT NULL, reasons TEXT NOT NULL, comment TEXT NOT NULL,
    FOREIGN KEY (answer_id, answer_choice) REFERENCES answers (id, choice),
    FOREIGN KEY (other_id, other_choice) REFERENCES answers (id, choice)
);
CREATE INDEX IF NOT EXISTS judgements_by_answer ON judgements (answer_id, answer_choice);
CREATE TABLE IF NOT EXISTS retractions (
    judgement TEXT PRIMARY KEY REFERENCES judgements (id), created REAL NOT NULL
);
{_APPEND_ONLY}
"""
_FORM = Form("feedback", "--feedback", APPLICATION_ID, SCHEMA_VERSION, _SCHEMA, "FULL")


@dataclass(frozen=True)
class AnswerKey:
    """One answer: the id that the API gave the response, and which of its choices it is."""

    id: str
    choice: int


@dataclass(frozen=True)
class Answer:
    """An answer as the server wrote it.

    messages: the conversation that it answers, as the model was given it. text: with what calls tools, but without the stop
    token, which `token_ids` has. created: Unix time. logprobs: as the engine's `Token`. sampling: as the engine's.
    """

    id: str
    choice: int
    created: int
    model: str
    model_digest: str
    messages: Sequence[Message]
    text: str
    finish: str
    prompt_ids: Sequence[int]
    token_ids: Sequence[int]
    logprobs: Sequence[float]
    sampling: Mapping[str, Any]

    @property
    def key(self) -> AnswerKey:
        """What it is called by."""
        return AnswerKey(self.id, self.choice)


@dataclass(frozen=True)
class Judgement:
    """What somebody said of an answer.

    id: its own, known to nobody but who made it. created: Unix time. answer: of a choice, the one shown at the left, and
    `other` the one at the right. text: of an edit, how the answer should have been. number: its place in the file.
    """

    id: str
    kind: Kind
    value: Value
    answer: AnswerKey
    other: AnswerKey | None = None
    text: str = ""
    reasons: tuple[str, ...] = ()
    comment: str = ""
    created: float = 0.0
    number: int = 0


class Store:
    """An open file. One thread at a time may use it; other processes may read and write the same file."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open it, or begin it if `create` says so. Raises as `open_file` does."""
        self._path = path
        self._connection = open_file(path, _FORM, create=create)

    def close(self) -> None:
        """Close it; nothing is held back until then."""
        self._connection.close()

    def add(self, judgement: Judgement, answers: Sequence[Answer]) -> None:
        """Write a judgement down, and those of the answers that it is about that are not there yet. On the disk on return.

        Raises:
            TooManyError: the answer has been judged too often.
            MachineError: the disk does not take it.
        """
        with transaction(self._connection, _FORM):
            [count] = self._connection.execute(
                "SELECT count(*) FROM judgements WHERE answer_id = ? AND answer_choice = ?",
                (judgement.answer.id, judgement.answer.choice),
            ).fetchone()
            if count >= MOST_JUDGEMENTS:
                raise TooManyError
            for answer in answers:
                self._insert("INSERT OR IGNORE INTO answers", _answer_row(answer))
            self._insert("INSERT INTO judgements", _judgement_row(judgement))

    def retract(self, judgement: str) -> bool:
        """Take a judgement back. Returns whether there is one of that id; to take it back twice is no mistake."""
        with transaction(self._connection, _FORM):
            if not self._connection.execute("SELECT 1 FROM judgements WHERE id = ?", (judgement,)).fetchone():
                return False
            self._insert("INSERT OR IGNORE INTO retractions", {"judgement": judgement, "created": time.time()})
        return True

    def answer(self, key: AnswerKey) -> Answer | None:
        """An answer that has been judged."""
        found = self._connection.execute(
            f"SELECT {', '.join(_ANSWER_COLUMNS)} FROM answers WHERE id = ? AND choice = ?", (key.id, key.choice)
        ).fetchone()
        return None if found is None else _answer(found)

    def judged(self) -> tuple[dict[AnswerKey, Answer], list[Judgement]]:
        """All judgements that stand, in their order, and the answers they are about: as of one moment."""
        with transaction(self._connection, _FORM, "BEGIN"):
            rows = self._connection.execute(
                f"SELECT {', '.join(_JUDGEMENT_COLUMNS)} FROM judgements ORDER BY number"
            ).fetchall()
            retracted = {name for (name,) in self._connection.execute("SELECT judgement FROM retractions")}
            answers = self._connection.execute(f"SELECT {', '.join(_ANSWER_COLUMNS)} FROM answers").fetchall()
        # First the latest, then whether it stands: what replaced a judgement and is taken back does not bring that back.
        judgements = [one for one in _latest(map(_judgement, rows)) if one.id not in retracted]
        about = {key for one in judgements for key in (one.answer, one.other)}
        return {answer.key: answer for answer in map(_answer, answers) if answer.key in about}, judgements

    def count_retracted(self) -> int:
        """How many judgements were taken back."""
        return self._connection.execute("SELECT count(*) FROM retractions").fetchone()[0]

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Keep the file's bytes as they are, so that they can be hashed: with all that this store reads meanwhile.

        Others' rows stand beside it, in its -wal, until they are moved into it, which SQLite does not do while somebody
        reads what the file alone holds.

        Raises:
            MachineError: it may not be written, or another process reads or writes it without a pause.
        """
        beside, deadline = Path(f"{self._path}-wal"), time.monotonic() + BUSY_SECONDS
        while time.monotonic() < deadline:
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.OperationalError as error:
                raise MachineError(f"{self._path} cannot be brought to rest ({error}): give a copy of yours") from None
            with transaction(self._connection, _FORM, "BEGIN"):
                self.count_retracted()  # a transaction sees what is there at its first reading
                if not beside.exists() or beside.stat().st_size == 0:
                    yield
                    return
        raise MachineError(f"{self._path} is in use all the time: try again when less is written to it")

    def _insert(self, into: str, row: Mapping[str, Any]) -> None:
        places = ", ".join("?" * len(row))
        self._connection.execute(f"{into} ({', '.join(row)}) VALUES ({places})", tuple(row.values()))


class TooManyError(Exception):
    """An answer has been judged as often as it may be."""


def _latest(judgements: Iterator[Judgement]) -> list[Judgement]:
    """Of several of one kind about the same answers, the last."""
    last: dict[tuple[str, frozenset[AnswerKey | None]], Judgement] = {}
    for judgement in judgements:
        last[judgement.kind, frozenset((judgement.answer, judgement.other))] = judgement
    return sorted(last.values(), key=lambda judgement: judgement.number)


_ANSWER_COLUMNS = tuple(field.name for field in fields(Answer))
_ANSWER_JSON = ("messages", "prompt_ids", "token_ids", "logprobs", "sampling")
_JUDGEMENT_COLUMNS = (
    "number", "id", "created", "kind", "value", "answer_id", "answer_choice", "other_id", "other_choice", "text", "reasons",
    "comment",
)  # fmt: skip


def _answer_row(answer: Answer) -> dict[str, Any]:
    plain = {name: getattr(answer, name) for name in _ANSWER_COLUMNS}
    return plain | {name: json.dumps(plain[name], ensure_ascii=False) for name in _ANSWER_JSON}


def _answer(row: Sequence[Any]) -> Answer:
    plain = dict(zip(_ANSWER_COLUMNS, row, strict=True))
    return Answer(**(plain | {name: json.loads(plain[name]) for name in _ANSWER_JSON}))


def _judgement_row(judgement: Judgement) -> dict[str, Any]:
    assert judgement.kind in get_args(Kind) and judgement.value in get_args(Value)
    other = judgement.other
    return {
        "id": judgement.id,
        "created": judgement.created,
        "kind": judgement.kind,
        "value": judgement.value,
        "answer_id": judgement.answer.id,
        "answer_choice": judgement.answer.choice,
        "other_id": other.id if other else None,
        "other_choice": other.choice if other else None,
        "text": judgement.text,
        "reasons": json.dumps(judgement.reasons, ensure_ascii=False),
        "comment": judgement.comment,
    }


def _judgement(row: Sequence[Any]) -> Judgement:
    number, id_, created, kind, value, answer_id, answer_choice, other_id, other_choice, text, reasons, comment = row
    return Judgement(
        id=id_,
        kind=kind,
        value=value,
        answer=AnswerKey(answer_id, answer_choice),
        other=None if other_id is None else AnswerKey(other_id, other_choice),
        text=text,
        reasons=tuple(json.loads(reasons)),
        comment=comment,
        created=created,
        number=number,
    )
