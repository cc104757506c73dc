"""Rows of JSONL or Parquet, with errors that name the place: labels, conversations and questions come as such."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ropewalk.runtime.errors import InputError


def read_objects(path: Path, *, columns: Sequence[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row's object, and its place ("FILE, line 3") to begin a sentence with. Empty lines are passed over.

    columns: of a Parquet file, read no others; those that it lacks are not missed.

    Raises:
        InputError: no such file, one that is no Parquet though its name says so, or a line that is not UTF-8, not JSON, or
            not an object.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file: give a JSONL or Parquet file")
    if path.suffix.lower() == ".parquet":
        yield from _parquet_rows(path, columns)
        return
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            where = f"{path}, line {number}"
            if not raw.strip():
                continue
            try:
                value = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError:
                raise InputError(f"{where} is not UTF-8: save the file as UTF-8") from None
            except (ValueError, RecursionError):
                raise InputError(f"{where} is not JSON: write one object a line") from None
            if not isinstance(value, dict):
                raise InputError(f"{where} is not a JSON object: write one object a line")
            yield where, value


def write_objects(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _parquet_rows(path: Path, columns: Sequence[str] | None) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            there = file.schema_arrow.names
            chosen = there if columns is None else [name for name in columns if name in there]
            rows = (row for batch in file.iter_batches(columns=chosen) for row in batch.to_pylist())
            for number, row in enumerate(rows, start=1):
                yield f"{path}, row {number}", row
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not Parquet ({str(error).splitlines()[0]}): write it anew, or give JSONL") from None
