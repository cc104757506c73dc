"""The Parquet of a corpus: schemas, and a writer that gives the same bytes for the same rows."""

from __future__ import annotations

import dataclasses
import io
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ropewalk.corpus.page import Row

ROWS_PER_GROUP = 1_000
_CATEGORIES = ("language", "split", "stage", "reason", "rights", "license")

ROWS = pa.schema(
    [
        ("url", pa.string()),
        ("page_id", pa.string()),
        ("payload_bytes", pa.int64()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("characters", pa.int64()),
        ("text_bytes", pa.int64()),
        ("language", pa.string()),
        ("language_score", pa.float64()),
        ("relevance", pa.float64()),
        ("date", pa.date32()),
        ("title", pa.string()),
        ("rights", pa.string()),
        ("license", pa.string()),
        ("overlaps", pa.string()),
        ("text", pa.string()),
        ("text_hash", pa.string()),
        ("bands", pa.binary()),
        ("cpu_seconds", pa.float64()),
    ]
)
DOCUMENTS = pa.schema(
    [
        ("text", pa.string()),
        ("url", pa.string()),
        ("page_id", pa.string()),
        ("language", pa.string()),
        ("language_score", pa.float64()),
        ("relevance", pa.float64()),
        ("date", pa.date32()),
        ("title", pa.string()),
        ("rights", pa.string()),
        ("license", pa.string()),
        ("split", pa.string()),
    ]
)
LEDGER = pa.schema(
    [
        ("url", pa.string()),
        ("page_id", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("characters", pa.int64()),
        ("cut_characters", pa.int64()),
        ("duplicate_of", pa.string()),
        ("rights", pa.string()),
        ("license", pa.string()),
    ]
)


def rows_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as a table, a column per field."""
    names = [field.name for field in dataclasses.fields(Row)]
    return pa.table({name: [getattr(row, name) for row in rows] for name in names}, schema=ROWS)


def write_table(table: pa.Table, path: Path, *, draft: Path) -> None:
    """Write `table` to `path` at once: through `draft`, a file elsewhere on the same disk.

    The bytes depend on the rows alone, not on how the table was put together.
    """
    _write(table, draft)
    _put_in_place(draft, path)


def encode_table(table: pa.Table) -> bytes:
    """The bytes that `write_table` would write."""
    buffer = io.BytesIO()
    _write(table, buffer)
    return buffer.getvalue()


def write_bytes(content: bytes, path: Path) -> None:
    """Write `content` to `path` at once, through a draft beside it whose name no other process uses."""
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}.draft")
    draft.write_bytes(content)
    _put_in_place(draft, path)


def _write(table: pa.Table, where: Path | io.BytesIO) -> None:
    pq.write_table(
        table.combine_chunks(),
        where,
        row_group_size=ROWS_PER_GROUP,
        compression="zstd",
        use_dictionary=[name for name in _CATEGORIES if name in table.column_names],  # pyright: ignore[reportArgumentType]
    )


def _put_in_place(draft: Path, path: Path) -> None:
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
