"""The pages that benches run on, in a WARC file as Common Crawl writes it: warcinfo, then request and response by turns.

Manuals are the HTML of Debian's doc packages (`make docs-pages`). Articles are the 181 pages of news and blogs of
https://github.com/scrapinghub/article-extraction-benchmark (MIT), as many as that folder holds: fetched for the bench, and
nothing of it kept here.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from fastwarc.stream_io import GzipWriter
from fastwarc.warc import WarcRecord, WarcRecordType

from ropewalk.crawl.warc import encode_info, encode_response

MANUALS = {name: Path("/usr/share/doc") / name for name in ("python3.11", "sqlite3", "debian-handbook", "git-doc")}
HTTP_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"


def manuals(count: int) -> list[tuple[str, bytes]]:
    """`count` pages with made-up addresses, as many of each manual where it has them, by hash of their names."""
    found = []
    for name, folder in MANUALS.items():
        paths = [path for path in folder.rglob("*.html") if path.is_file() and not path.is_symlink()]
        paths.sort(key=lambda path: hashlib.sha256(path.relative_to(folder).as_posix().encode()).digest())
        found += [
            (f"https://{name}.example.org/{path.relative_to(folder).as_posix()}", path.read_bytes())
            for path in paths[: count // len(MANUALS)]
        ]
    return found


def articles(folder: Path) -> list[tuple[str, bytes]]:
    """Addresses and pages of the article benchmark."""
    truth = json.loads((folder / "ground-truth.json").read_text(encoding="utf-8"))
    return [
        (truth[name]["url"], gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes())) for name in sorted(truth)
    ]


def write_warc(pages: Iterable[tuple[str, bytes]], path: Path) -> None:
    """Write pages with their addresses to `path`, a gzip member a record."""
    with path.open("wb") as file:
        file.write(encode_info(path.name, {"software": "ropewalk's benches", "format": "WARC File Format 1.1"}))
        for record in _records(pages):
            file.write(record)


def _records(pages: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    for url, payload in pages:
        parts = urlsplit(url)
        yield _request(url, f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        yield encode_response(url, HTTP_HEAD, payload, content_type="text/html")


def _request(url: str, content: bytes) -> bytes:
    record = WarcRecord()
    record.init_headers(WarcRecordType.request)
    record.headers["WARC-Target-URI"] = url
    record.is_http = True
    record.set_bytes_content(content)
    buffer = io.BytesIO()
    writer = GzipWriter(buffer, 6)
    record.write(writer, checksum_data=True)
    writer.finish()
    return buffer.getvalue()
