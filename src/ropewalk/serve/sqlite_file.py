"""SQLite files that a server keeps: opened, known as ours, written in whole transactions.

WAL lets others read while a server writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ropewalk.runtime.errors import InputError, MachineError

BUSY_SECONDS = 30.0  # how long to wait for another process that writes


@dataclass(frozen=True)
class Form:
    """What a file is. name: for sentences, as 'feedback'. application_id: SQLite's mark of whose file it is.

    option: of `ropewalk serve`, which writes it. schema: statements that make the tables. synchronous: FULL has a row on the
    disk before anybody is told of it; NORMAL may lose the last ones to a power cut, never to a killed process.
    """

    name: str
    option: str
    application_id: int
    version: int
    schema: str
    synchronous: Literal["FULL", "NORMAL"]


def open_file(path: Path | None, form: Form, *, create: bool) -> sqlite3.Connection:
    """Open a file, or begin it if `create` says so; without a path, one in memory that is gone when it is closed.

    The connection commits each statement unless a transaction was begun, and may go from thread to thread.

    Raises:
        InputError: there is none, or it is no such file, or one of another version.
        MachineError: it cannot be opened.
    """
    if path is not None and not create and not path.is_file():
        raise InputError(f"{path} is not a file: give the file that ropewalk serve {form.option} writes")
    try:
        if path is not None and create:
            path.touch(mode=0o600)  # what people say is nobody else's on this machine
        connection = sqlite3.connect(path or ":memory:", timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.OperationalError) as error:
        raise MachineError(f"{path} cannot be opened ({error}): give a file in a folder that is there") from None
    try:
        _prepare(connection, path, form, create=create)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path | None, form: Form, *, create: bool) -> None:
    def pragma(name: str) -> int:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    try:
        if create and pragma("application_id") == 0 and not pragma("schema_version"):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(
                f"BEGIN IMMEDIATE; {form.schema} PRAGMA application_id = {form.application_id}; "
                f"PRAGMA user_version = {form.version}; COMMIT;"
            )
        mine, version = pragma("application_id") == form.application_id, pragma("user_version")
        connection.executescript(f"PRAGMA synchronous = {form.synchronous}; PRAGMA foreign_keys = ON;")
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path} cannot be used as a store of {form.name} ({error}): give another file") from None
    if not mine:
        raise InputError(f"{path} is no store of {form.name}: give the file that ropewalk serve {form.option} writes")
    if version != form.version:
        raise InputError(
            f"{path} is of version {version}, this ropewalk reads {form.version}: use the ropewalk that wrote it"
        )


@contextmanager
def transaction(connection: sqlite3.Connection, form: Form, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Commit what is done within, or nothing of it. Within another transaction it is part of that one.

    Raises:
        MachineError: the disk is full, or another process held the file for too long.
    """
    if connection.in_transaction:
        yield
        return
    try:
        connection.execute(begin)
        yield
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        raise MachineError(f"the file of {form.name} cannot be written ({error})") from None
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
