"""Find and read input records: pages in WARC files, texts in JSONL and Parquet, and HTML, Markdown and text files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ropewalk.artifact import InputFile, is_artifact, is_remote, list_remote, open_artifact
from ropewalk.corpus.rows import Columns, Problem, TooLarge, column_names, is_table, read_rows
from ropewalk.crawl.ledger import LEDGER
from ropewalk.crawl.warc import Fault, Page, page_id, read_pages_from
from ropewalk.runtime.errors import InputError

WARC_NAME = re.compile(r"\.(warc|wet|warc\.wet)(\.gz|\.zst)?$", re.IGNORECASE)
CONTENT_TYPES = {
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "application/xhtml+xml",
    ".md": "text/markdown",
    ".txt": "text/plain",
}


@dataclass(frozen=True)
class Record:
    """One thing to account for: a page's bytes with what its server said of them, or a fault in their place.

    last_modified: ISO date. fault: a sentence that says where and what. size_bytes: the payload's, where it is not all
    here because it is too large anyway. headers: those that may speak of the page's rights. dump: documents are compared
    within it.
    """

    url: str
    page_id: str
    payload: bytes
    content_type: str | None = None
    charset: str | None = None
    last_modified: str | None = None
    fault: str | None = None
    size_bytes: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    dump: str = ""

    @property
    def payload_bytes(self) -> int:
        return len(self.payload) if self.size_bytes is None else self.size_bytes


@dataclass(frozen=True)
class Source:
    """A file of records, read from start to end."""

    file: InputFile
    columns: Columns

    def records(self, max_page_bytes: int) -> Iterator[Record]:
        """Read the records in the file's own order; of one over `max_page_bytes` not its payload, its size alone.

        Raises:
            InputError: the file lies elsewhere and cannot be had.
        """
        if is_warc(self.file.name):
            return _warc_records(self.file, max_page_bytes)
        if is_table(self.file.name):
            return _row_records(self.file, self.columns, max_page_bytes)
        return iter([_file_record(self.file, max_page_bytes)])


def is_warc(name: str) -> bool:
    return WARC_NAME.search(name) is not None


def find_sources(pages: Path | str, columns: Columns) -> list[Source]:
    """List what there is to read at or below `pages`: WARC files, then tables, then loose files, each in name order.

    Raises:
        InputError: nothing there that this room reads.
    """
    if is_remote(pages):
        files = list_remote(str(pages))
    elif is_artifact(Path(pages)):
        artifact = open_artifact(pages)
        files = [_input(path, artifact.path) for path in artifact.files() if not is_table(path.name)]
    else:
        pages = Path(pages)
        files = [_input(pages, pages.parent)] if pages.is_file() else _files_within(pages)
    warcs = [file for file in files if is_warc(file.name)]
    tables = [file for file in files if is_table(file.name) and Path(file.name).name != LEDGER]
    loose = [file for file in files if Path(file.name).suffix.lower() in CONTENT_TYPES]
    if not (warcs or tables or loose):
        wanted = ".warc, .wet, .jsonl (each also .gz or .zst), .parquet, " + ", ".join(CONTENT_TYPES)
        raise InputError(f"{pages} holds no pages: give a pages artifact, or files that end in {wanted}")
    return [Source(file, columns) for file in (*warcs, *tables, *loose)]


def check_columns(sources: list[Source]) -> None:
    """Refuse a wrong name for the text's column. Only the first table is opened: of others the ledger tells.

    Raises:
        InputError: names the columns that there are.
    """
    first = next((source for source in sources if is_table(source.file.name)), None)
    names = column_names(first.file) if first else None
    if first and names is not None and first.columns.text not in names:
        listed = ", ".join(names[:20])[:500]
        raise InputError(
            f"{first.file.name} has no column {first.columns.text!r}, but {listed}: name the text's with --text-column"
        )


def _files_within(folder: Path) -> list[InputFile]:
    """Regular files below `folder` in name order; a symbolic link that leads out of it is not followed."""
    root = folder.resolve()
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.resolve().is_relative_to(root))
    return [_input(path, folder) for path in paths]


def _input(path: Path, folder: Path) -> InputFile:
    name = os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", errors="replace")
    return InputFile(name, path, path.stat().st_size)


def _warc_records(file: InputFile, max_page_bytes: int) -> Iterator[Record]:
    with file.open() as stream:
        for item in read_pages_from(stream, file.name):
            if isinstance(item, Fault):
                yield _fault(item.url, f"{item.where} {item.what}")
            else:
                yield _page_record(item, max_page_bytes)


def _page_record(page: Page, max_page_bytes: int) -> Record:
    size_bytes = len(page.payload)
    payload = page.payload if size_bytes <= max_page_bytes else b""
    told = (page.content_type, page.charset, page.last_modified)
    return Record(page.url, page.page_id, payload, *told, size_bytes=size_bytes, headers=page.headers)


def _row_records(file: InputFile, columns: Columns, max_page_bytes: int) -> Iterator[Record]:
    """Texts go on after extraction: plain text in UTF-8, whatever it holds."""
    for row in read_rows(file, columns, max_page_bytes):
        url = row.url or f"file:{file.name}#{row.number}"
        if isinstance(row, Problem):
            yield _fault(url, f"{file.name}, {row.what}")
        elif isinstance(row, TooLarge):
            yield Record(url, page_id(url, b""), b"", size_bytes=row.size_bytes)
        else:
            payload = row.text.encode("utf-8", "replace")
            yield Record(url, page_id(url, payload), payload, "text/plain", "utf-8", row.date)


def _file_record(file: InputFile, max_page_bytes: int) -> Record:
    """A loose file as a record; one past the limit is not read."""
    url = "file:" + file.name
    if file.size_bytes > max_page_bytes:
        return Record(url, page_id(url, b""), b"", size_bytes=file.size_bytes)
    try:
        with file.open() as stream:
            payload = stream.read(max_page_bytes + 1)  # the size of one on the web may be untold
    except OSError as error:
        return _fault(url, f"{url} cannot be read ({error.strerror})")
    return Record(url, page_id(url, payload), payload, CONTENT_TYPES[Path(file.name).suffix.lower()])


def _fault(url: str, what: str) -> Record:
    return Record(url, page_id(url, b""), b"", fault=what)
