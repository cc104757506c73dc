"""Find and read input records: pages in WARC files, and HTML, Markdown and text files in folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ropewalk.artifact import is_artifact, open_artifact
from ropewalk.crawl.warc import Fault, Page, page_id, read_pages
from ropewalk.runtime.errors import InputError

WARC_SUFFIXES = (".warc", ".warc.gz")
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

    last_modified: ISO date. fault: a sentence that says where and what. dump: documents are compared within it.
    """

    url: str
    page_id: str
    payload: bytes
    content_type: str | None = None
    charset: str | None = None
    last_modified: str | None = None
    fault: str | None = None
    dump: str = ""


@dataclass(frozen=True)
class Source:
    """A WARC file, or all loose files of a folder: what is read from start to end, and skipped whole when done."""

    name: str
    folder: Path
    files: tuple[Path, ...]
    size_bytes: int

    def records(self, max_page_bytes: int) -> Iterator[Record]:
        """Read the records in the source's own order."""
        for file in self.files:
            if is_warc(file):
                yield from _warc_records(file)
            else:
                yield _file_record(file, self.folder, max_page_bytes)


def is_warc(path: Path) -> bool:
    return path.name.lower().endswith(WARC_SUFFIXES)


def find_sources(pages: Path) -> list[Source]:
    """List what there is to read below `pages`, in name order.

    Raises:
        InputError: nothing there that this room reads.
    """
    if is_artifact(pages):
        folder, files = pages, open_artifact(pages).files()
    elif pages.is_file():
        folder, files = pages.parent, [pages]
    else:
        folder, files = pages, _files_within(pages)
    warcs = [file for file in files if is_warc(file)]
    loose = tuple(file for file in files if file.suffix.lower() in CONTENT_TYPES)
    sources = [Source(file.relative_to(folder).as_posix(), folder, (file,), file.stat().st_size) for file in warcs]
    if loose:
        sources.append(Source("files", folder, loose, sum(file.stat().st_size for file in loose)))
    if not sources:
        wanted = ", ".join((*WARC_SUFFIXES, *CONTENT_TYPES))
        raise InputError(f"{pages} holds no pages: give a pages artifact, or files that end in {wanted}")
    return sources


def _files_within(folder: Path) -> list[Path]:
    """Regular files below `folder` in name order; a symbolic link that leads out of it is not followed."""
    root = folder.resolve()
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.resolve().is_relative_to(root))


def _warc_records(path: Path) -> Iterator[Record]:
    for item in read_pages(path):
        if isinstance(item, Fault):
            yield Record("", "", b"", fault=f"{item.where} {item.what}")
        else:
            yield _page_record(item)


def _page_record(page: Page) -> Record:
    return Record(page.url, page.page_id, page.payload, page.content_type, page.charset, page.last_modified)


def _file_record(path: Path, folder: Path, max_page_bytes: int) -> Record:
    """A loose file as a record. A file past the limit is read just far enough for its size to show."""
    relative = os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", errors="replace")
    url = "file:" + relative
    try:
        with path.open("rb") as file:
            payload = file.read(max_page_bytes + 1)
    except OSError as error:
        return Record(url, "", b"", fault=f"{url} cannot be read ({error.strerror})")
    return Record(url, page_id(url, payload), payload, CONTENT_TYPES[path.suffix.lower()])
