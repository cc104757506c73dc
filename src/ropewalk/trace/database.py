"""Pages and sentences in SQLite, with a full-text table (FTS5, Porter's stems) over the sentences.

The same pages give the same bytes under the same version of SQLite: one pass in order into a fresh file, a fixed page size,
nothing dated. The text itself is not here but in the shards, once.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ropewalk.runtime.errors import MachineError

DATABASE = "pages.sqlite"

_SCHEMA = """
PRAGMA page_size = 4096;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE pages (
    page INTEGER PRIMARY KEY, page_id TEXT NOT NULL, url TEXT NOT NULL, title TEXT NOT NULL,
    shard INTEGER NOT NULL, first_byte INTEGER NOT NULL, bytes INTEGER NOT NULL
);
CREATE TABLE sentences (
    sentence INTEGER PRIMARY KEY, page INTEGER NOT NULL, first_byte INTEGER NOT NULL, bytes INTEGER NOT NULL
);
CREATE VIRTUAL TABLE words USING fts5(sentence, content = '', tokenize = 'porter unicode61');
"""
_FINISH = """
CREATE UNIQUE INDEX pages_by_id ON pages (page_id);
INSERT INTO words (words) VALUES ('optimize');
VACUUM;
"""


@dataclass(frozen=True)
class PageRow:
    """A page and where its text stands: `bytes` bytes from `first_byte` of shard `shard`."""

    page: int
    page_id: str
    url: str
    title: str
    shard: int
    first_byte: int
    bytes: int


@dataclass(frozen=True)
class SentenceRow:
    """A sentence: `bytes` bytes from `first_byte` of its page's text."""

    page: PageRow
    first_byte: int
    bytes: int


class DatabaseWriter:
    """Fill a fresh database in one pass."""

    def __init__(self, path: Path) -> None:
        """Begin at `path`, over whatever an interruption left there.

        Raises:
            MachineError: this Python's SQLite has no FTS5.
        """
        path.unlink(missing_ok=True)
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None)
        self.pages = self.sentences = 0
        try:
            self._connection.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            self._connection.close()
            if "fts5" not in str(error):
                raise
            raise MachineError("this Python's SQLite has no FTS5: use a Python whose SQLite has it") from None
        self._connection.execute("BEGIN")

    def add(self, row: PageRow, sentences: list[tuple[int, str]]) -> None:
        """Append a page with its sentences, each the first byte in the page and the text."""
        assert row.page == self.pages, "pages are numbered in order"
        columns = (row.page, row.page_id, row.url, row.title, row.shard, row.first_byte, row.bytes)
        self._connection.execute("INSERT INTO pages VALUES (?, ?, ?, ?, ?, ?, ?)", columns)
        numbered = list(enumerate(sentences, start=self.sentences))
        self._connection.executemany(
            "INSERT INTO sentences VALUES (?, ?, ?, ?)",
            [(number, row.page, first_byte, len(text.encode())) for number, (first_byte, text) in numbered],
        )
        self._connection.executemany(
            "INSERT INTO words (rowid, sentence) VALUES (?, ?)", [(number, text) for number, (_, text) in numbered]
        )
        self.pages += 1
        self.sentences += len(sentences)

    def finish(self) -> None:
        """Close the database, packed and on disk."""
        self._connection.executescript(_FINISH)  # commits first
        self.close()
        with self._path.open("rb") as file:
            os.fsync(file.fileno())

    def close(self) -> None:
        """Let go of the file, finished or not."""
        self._connection.close()


class Database:
    """Read a finished database. Threads may share it: one asks at a time."""

    def __init__(self, path: Path) -> None:
        address = path.resolve().as_uri() + "?mode=ro&immutable=1"
        self._connection = sqlite3.connect(address, uri=True, check_same_thread=False)
        self._lock = threading.Lock()

    def page(self, number: int) -> PageRow:
        """The page of that number."""
        rows = self._ask("SELECT * FROM pages WHERE page = ?", (number,))
        return PageRow(*rows[0])

    def find_page(self, page_id: str) -> PageRow | None:
        """The page with that identity, if it is in."""
        rows = self._ask("SELECT * FROM pages WHERE page_id = ?", (page_id,))
        return PageRow(*rows[0]) if rows else None

    def first_page(self, shard: int) -> int:
        """The number of the first page of a shard."""
        return self._ask("SELECT min(page) FROM pages WHERE shard = ?", (shard,))[0][0]

    def matching(self, match: str, *, limit: int) -> Iterator[SentenceRow]:
        """At most `limit` sentences that an FTS5 query finds, best first by bm25, then in the order of the pages."""
        rows = self._ask(
            "SELECT sentences.first_byte, sentences.bytes, pages.* FROM words "
            "JOIN sentences ON sentences.sentence = words.rowid JOIN pages ON pages.page = sentences.page "
            "WHERE words MATCH ? ORDER BY words.rank, words.rowid LIMIT ?",
            (match, limit),
        )
        for first_byte, size_bytes, *page in rows:
            yield SentenceRow(PageRow(*page), first_byte, size_bytes)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _ask(self, question: str, values: tuple[object, ...]) -> list[tuple]:
        with self._lock:
            return self._connection.execute(question, values).fetchall()
