"""Read texts that others extracted: a row of JSONL or Parquet each, streamed, however large the file or hostile a row."""

from __future__ import annotations

import datetime
import gzip
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from ropewalk.artifact import InputFile
from ropewalk.crawl.decode import DECOMPRESSION_ERRORS, GZIP_MAGIC, ZSTD_MAGIC, zstd
from ropewalk.crawl.warc import MAX_URL_CHARACTERS

TABLE_NAME = re.compile(r"\.(parquet|(jsonl|ndjson)(\.gz|\.zst)?)$", re.IGNORECASE)
# JSON may spell a character of two bytes in six; the other columns get a megabyte. A line is parsed into up to 25 times
# its length where it is all brackets.
LINE_BYTES_PER_TEXT_BYTE = 3
OTHER_COLUMNS_BYTES = 1_000_000
MAX_SKIPPED_BYTES = 4_000_000_000  # of one line; in a compressed file it may be a bomb without end
SKIP_BYTES = 1 << 20


@dataclass(frozen=True)
class Columns:
    """What the columns are called. Only the text must be there."""

    text: str = "text"
    url: str = "url"
    id: str = "id"
    date: str = "date"


@dataclass(frozen=True)
class TextRow:
    """A text. number: of its line or row, from 1. url: empty where the row has neither address nor id."""

    number: int
    text: str
    url: str
    date: str | None


@dataclass(frozen=True)
class Problem:
    """A row, or the rest of a file, that cannot be read. what: "line 3 is not JSON"."""

    number: int
    what: str
    url: str = ""


@dataclass(frozen=True)
class TooLarge:
    """A row that is too large to be looked at. size_bytes: of the text in UTF-8, or of the whole line."""

    number: int
    size_bytes: int
    url: str = ""


def is_table(name: str) -> bool:
    return TABLE_NAME.search(name) is not None


def read_rows(file: InputFile, columns: Columns, max_page_bytes: int) -> Iterator[TextRow | TooLarge | Problem]:
    """Read every row, in order. What cannot be read is a `Problem`, and reading goes on wherever there is a way.

    Raises:
        InputError: the file lies elsewhere and cannot be had. OSError: it cannot be opened.
    """
    line_bytes = LINE_BYTES_PER_TEXT_BYTE * max_page_bytes + OTHER_COLUMNS_BYTES
    with file.open() as stream:
        rows = _parquet_rows(stream, columns, max_page_bytes) if _is_parquet(file) else _json_rows(stream, line_bytes)
        for number, values in rows:
            yield _text_row(number, values, columns, max_page_bytes) if isinstance(values, dict) else values


def column_names(file: InputFile) -> list[str] | None:
    """What a table's columns are called, by its schema or its first object; None where the ledger will say what is wrong."""
    with file.open() as stream:
        if not _is_parquet(file):
            _, values = next(_json_rows(stream, OTHER_COLUMNS_BYTES), (0, None))
            return list(values) if isinstance(values, dict) else None
        try:
            return pq.ParquetFile(stream).schema_arrow.names
        except (pa.ArrowException, OSError):
            return None


def _is_parquet(file: InputFile) -> bool:
    return file.name.lower().endswith(".parquet")


def _text_row(number: int, values: dict[str, Any], columns: Columns, max_page_bytes: int) -> TextRow | TooLarge | Problem:
    url = _url(values.get(columns.url), values.get(columns.id))
    if columns.text not in values:
        return Problem(number, f"row {number} has no {columns.text!r}", url)
    text = values[columns.text]
    if isinstance(text, TooLarge):
        return TooLarge(number, text.size_bytes, url)
    if not isinstance(text, str | None):
        return Problem(number, f"row {number} has a {columns.text!r} that is no text", url)
    size_bytes = len((text or "").encode("utf-8", "replace"))
    if size_bytes > max_page_bytes:
        return TooLarge(number, size_bytes, url)
    return TextRow(number, text or "", url, _date(values.get(columns.date)))


def _url(url: object, name: object) -> str:
    """The row's address, or its id as one; empty if it has neither."""
    if isinstance(url, str) and 0 < len(url) <= MAX_URL_CHARACTERS:
        return url.encode("utf-8", "replace").decode()
    name = str(name).strip("<>") if isinstance(name, str | int) else ""
    name = name[:MAX_URL_CHARACTERS].encode("utf-8", "replace").decode()
    return name if name.startswith("urn:") or not name else f"id:{name}"


def _date(value: object) -> str | None:
    if isinstance(value, datetime.date):
        return value.isoformat()[:10]
    try:
        return datetime.date.fromisoformat(value[:10]).isoformat() if isinstance(value, str) else None
    except ValueError:
        return None


def _json_rows(stream: BinaryIO, line_bytes: int) -> Iterator[tuple[int, dict[str, Any] | TooLarge | Problem]]:
    """Each line's object by the line's number; empty lines are passed over."""
    number = 0
    try:
        lines = _decompressed(stream)
        while True:
            number += 1
            line = lines.readline(line_bytes + 1)
            if not line:
                return
            if len(line) > line_bytes:
                size_bytes = len(line) + (0 if line.endswith(b"\n") else _skip_line(lines))
                if size_bytes > MAX_SKIPPED_BYTES:
                    yield number, Problem(number, f"line {number} has over {MAX_SKIPPED_BYTES:,} bytes; reading stops there")
                    return
                yield number, TooLarge(number, size_bytes)
            elif line.strip():
                yield number, _parsed(line, number)
    except (OSError, EOFError, *DECOMPRESSION_ERRORS) as error:
        yield number, Problem(number, f"line {number} cannot be read, nor what follows ({error})")


def _decompressed(stream: BinaryIO) -> io.BufferedReader:
    """The stream itself, or what is packed in it: its bytes tell, and not its name."""
    magic = stream.read(4)
    stream.seek(0)
    if magic.startswith(GZIP_MAGIC):
        return io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=stream)), SKIP_BYTES)
    if magic == ZSTD_MAGIC:
        return io.BufferedReader(cast("io.RawIOBase", zstd.ZstdFile(stream)), SKIP_BYTES)
    return cast("io.BufferedReader", stream)


def _skip_line(lines: io.BufferedReader) -> int:
    """Read to the end of the line, but no further than a bomb deserves. Returns the bytes passed over."""
    skipped = 0
    while skipped <= MAX_SKIPPED_BYTES and (piece := lines.readline(SKIP_BYTES)):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped


def _parsed(line: bytes, number: int) -> dict[str, Any] | Problem:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return Problem(number, f"line {number} is not JSON in UTF-8")
    return values if isinstance(values, dict) else Problem(number, f"line {number} is not a JSON object")


def _parquet_rows(stream: BinaryIO, columns: Columns, max_page_bytes: int) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    """Each row by its number, a row at a time: that takes 0.05 ms, and one value is the most that can be in memory.

    In a batch of rows a dictionary of one large value is a bomb: 50 MB become 50 GB.
    """
    number = 1
    try:
        table = pq.ParquetFile(stream, buffer_size=SKIP_BYTES, page_checksum_verification=True)
        names = [name for name in (columns.text, columns.url, columns.id, columns.date) if name in table.schema_arrow.names]
    except (pa.ArrowException, OSError) as error:
        yield number, Problem(number, f"row {number} and all others cannot be read ({_short(error)})")
        return
    for group in range(table.num_row_groups):
        end = number + table.metadata.row_group(group).num_rows
        try:
            for batch in table.iter_batches(batch_size=1, row_groups=[group], columns=names, use_threads=False):
                yield number, {name: _value(batch.column(name), max_page_bytes) for name in batch.schema.names}
                number += 1
        except (pa.ArrowException, OSError) as error:
            yield number, Problem(number, f"row {number} and what follows to row {end - 1} cannot be read ({_short(error)})")
        number = end


def _value(column: pa.Array, max_page_bytes: int) -> object:
    """The one value of a column as Python has it; its size alone where it is too large; () where it is nonsense."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        buffer = column[0].as_buffer()
        if buffer is not None and buffer.size > max_page_bytes:
            return TooLarge(0, buffer.size)
    try:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.date32(), safe=False)
        return column[0].as_py()
    except (ValueError, OverflowError):  # a date past the year 9999, a text that is not UTF-8
        return ()  # no text and no date


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
