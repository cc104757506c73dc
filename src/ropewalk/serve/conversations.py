"""Conversations of the chat page, in an SQLite file: each a tree of messages.

    conversations   whose it is, what it is called, and the message at the end of the branch that is shown
    messages        one turn each: OpenAI's message, the message that it follows, and what the page knows about it

To edit a message or to ask for another answer is to add a sibling: messages are never changed, so every branch stays. To
delete a conversation is to overwrite its words. A killed server loses nothing that was acknowledged; a power cut may lose
the last messages.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropewalk.serve.sqlite_file import Form, open_file, transaction

MOST_CONVERSATIONS = 10_000  # of one owner
MOST_KEPT_MESSAGES = 2_000  # of one conversation, all branches together
TITLE_CHARACTERS = 60  # of a title that is taken from the first message

_SCHEMA = """
CREATE TABLE IF NOT EXISTS conversations (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, title TEXT NOT NULL, created REAL NOT NULL, changed REAL NOT NULL, shown TEXT
);
CREATE INDEX IF NOT EXISTS conversations_by_owner ON conversations (owner, changed);
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, parent TEXT, created REAL NOT NULL, content TEXT NOT NULL,
    message TEXT NOT NULL, about TEXT NOT NULL, conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS messages_by_conversation ON messages (conversation);
"""
_FORM = Form("conversations", "--chats", 0x63686174, 1, _SCHEMA, "NORMAL")  # the mark spells "chat"


@dataclass(frozen=True)
class KeptMessage:
    """One turn.

    parent: the id of the message that it follows; None begins the conversation. message: in OpenAI's words.
    about: what the page needs to draw it again, as tokens with their probabilities. created: Unix time.
    """

    id: str
    parent: str | None
    created: float
    message: Mapping[str, Any]
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Summary:
    """A conversation's entry in a list. created, changed: Unix time."""

    id: str
    title: str
    created: float
    changed: float


@dataclass(frozen=True)
class Conversation:
    """A whole one: messages in the order in which they came, and the last one of the branch that is shown."""

    summary: Summary
    shown: str | None
    messages: Sequence[KeptMessage]

    def branch(self, end: str | None) -> list[KeptMessage]:
        """The messages from the first to `end`."""
        by_id = {message.id: message for message in self.messages}
        found: list[KeptMessage] = []
        while end is not None:
            found.append(by_id[end])
            end = by_id[end].parent
        return found[::-1]

    def branches(self) -> list[list[KeptMessage]]:
        """All branches, the one that is shown first."""
        followed = {message.parent for message in self.messages}
        ends = [message.id for message in self.messages if message.id not in followed]
        return [self.branch(end) for end in sorted(ends, key=lambda end: end != self.shown)]


class FullError(Exception):
    """There are as many conversations, or messages in one, as there may be."""


class Conversations:
    """The open file, or one in memory. Threads may share it: one asks at a time."""

    def __init__(self, path: Path | None) -> None:
        """Open it or begin it; without a path, all is gone when it is closed. Raises as `open_file` does."""
        self.path = path
        self._connection = open_file(path, _FORM, create=True)
        self._connection.execute("PRAGMA secure_delete = ON")
        # SQLite's own LIKE knows small and capital letters of English only.
        self._connection.create_function("holds", 2, lambda text, words: words in text.casefold(), deterministic=True)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def find(self, owner: str, *, search: str, limit: int) -> list[Summary]:
        """Somebody's conversations, the latest first: those with the words of `search` in their title or a message."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT id, title, created, changed FROM conversations AS c WHERE owner = :owner AND (:words = '' "
                "OR holds(title, :words) "
                "OR EXISTS (SELECT 1 FROM messages WHERE conversation = c.id AND holds(content, :words))) "
                "ORDER BY changed DESC, rowid DESC LIMIT :limit",
                {"owner": owner, "words": search.casefold(), "limit": limit},
            ).fetchall()
        return [Summary(*row) for row in rows]

    def create(self, owner: str, title: str) -> Summary:
        """Begin a conversation; without a title, the first message gives it one.

        Raises:
            FullError, MachineError: there are too many; the disk does not take it.
        """
        now = time.time()
        made = Summary(f"conv-{uuid.uuid4().hex}", title, now, now)
        with self._writing():
            self._refuse_full("SELECT count(*) FROM conversations WHERE owner = ?", owner, MOST_CONVERSATIONS)
            self._connection.execute(
                "INSERT INTO conversations (id, owner, title, created, changed) VALUES (?, ?, ?, ?, ?)",
                (made.id, owner, made.title, made.created, made.changed),
            )
        return made

    def get(self, owner: str, name: str) -> Conversation | None:
        """A conversation with all its messages, if there is one of that id, and it is the owner's."""
        with self._lock:
            found = self._connection.execute(
                "SELECT id, title, created, changed, shown FROM conversations WHERE id = ? AND owner = ?", (name, owner)
            ).fetchone()
            if found is None:
                return None
            rows = self._connection.execute(
                "SELECT id, parent, created, message, about FROM messages WHERE conversation = ? ORDER BY number", (name,)
            ).fetchall()
        messages = [
            KeptMessage(name, parent, created, json.loads(message), json.loads(about))
            for name, parent, created, message, about in rows
        ]
        return Conversation(Summary(*found[:4]), found[4], messages)

    def add(
        self, owner: str, name: str, *, parent: str | None, message: Mapping[str, Any], about: Mapping[str, Any]
    ) -> str | None:
        """Write a message down and show its branch. Returns its id; None if conversation or parent are not there.

        Raises:
            FullError, MachineError: there are too many; the disk does not take it.
        """
        made, now = f"msg-{uuid.uuid4().hex}", time.time()
        with self._writing():
            if not self._stands(owner, name, parent):
                return None
            self._refuse_full("SELECT count(*) FROM messages WHERE conversation = ?", name, MOST_KEPT_MESSAGES)
            self._connection.execute(
                "INSERT INTO messages (id, parent, created, content, message, about, conversation) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (made, parent, now, message.get("content") or "", json.dumps(message), json.dumps(about), name),
            )
            self._connection.execute(
                "UPDATE conversations SET shown = ?, changed = ?, title = iif(title = '', ?, title) WHERE id = ?",
                (made, now, _title(message), name),
            )
        return made

    def change(self, owner: str, name: str, *, title: str | None = None, shown: str | None = None) -> bool:
        """Rename it, or show the branch that ends with another message. Returns whether both are there.

        Raises:
            MachineError: the disk does not take it.
        """
        with self._writing():
            if not self._stands(owner, name, shown):
                return False
            self._connection.execute(
                "UPDATE conversations SET title = coalesce(?, title), shown = coalesce(?, shown) WHERE id = ?",
                (title, shown, name),
            )
        return True

    def delete(self, owner: str, name: str) -> bool:
        """Overwrite it with zeros, here and in the file's log. Returns whether it was there.

        Raises:
            MachineError: the disk does not take it.
        """
        with self._writing():
            deleted = self._connection.execute("DELETE FROM conversations WHERE id = ? AND owner = ?", (name, owner))
        with self._lock:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted.rowcount > 0

    def _stands(self, owner: str, name: str, message: str | None) -> bool:
        """Whether there is that conversation, and that message in it, if one is named."""
        return bool(
            self._connection.execute(
                "SELECT 1 FROM conversations AS c WHERE id = ? AND owner = ? AND (? IS NULL OR EXISTS "
                "(SELECT 1 FROM messages WHERE id = ? AND conversation = c.id))",
                (name, owner, message, message),
            ).fetchone()
        )

    def _refuse_full(self, count: str, of: str, most: int) -> None:
        if self._connection.execute(count, (of,)).fetchone()[0] >= most:
            raise FullError

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock, transaction(self._connection, _FORM):
            yield


def _title(message: Mapping[str, Any]) -> str:
    """A message's first words."""
    words = " ".join((message.get("content") or "").split())
    return words if len(words) <= TITLE_CHARACTERS else words[: TITLE_CHARACTERS - 1] + "…"
