"""The crawl's ledger: one row for every address considered, appended when its fate is known.

The ledger is also the journal of the crawl: a row is written after its WARC record, so what it says is there is there.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path

from ropewalk.crawl.warc import Place, warc_name, write_all

LEDGER = "fetches.jsonl"
FETCHED = "fetched"


@dataclasses.dataclass(frozen=True)
class Row:
    """What came of one address.

    outcome: "fetched" (and stored), "redirect", "noindex" (the page asks not to be kept), "robots" and
        "robots_unreachable" (not asked for), "off_host", "redirect_limit", "page_limit", "content_type", "too_large",
        "undecodable", "timeout", "connection", "bad_answer" (not HTTP), or "http_404" and its like.
    depth: links from a seed. hop: redirects since the link.
    note: what else there is to know: the media type refused, the error.
    bytes: of the payload, decoded. place: where its record lies.
    links: the addresses the page links to, on any host, each once, in page order; for a redirect, its target.
    """

    url: str
    depth: int
    hop: int
    outcome: str
    note: str = ""
    status: int | None = None
    bytes: int = 0
    page_id: str | None = None
    place: Place | None = None
    links: tuple[str, ...] = ()


class Ledger:
    """Append rows to `fetches.jsonl`; each is with the operating system when `add` returns."""

    def __init__(self, path: Path, *, length_bytes: int) -> None:
        self.file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o666)
        os.ftruncate(self.file, length_bytes)
        os.lseek(self.file, length_bytes, os.SEEK_SET)

    def add(self, row: Row) -> None:
        values = {key: value for key, value in dataclasses.asdict(row).items() if value not in (None, "")}
        write_all(self.file, json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        os.close(self.file)


def read_ledger(path: Path) -> Iterator[tuple[Row, int]]:
    """The rows of a ledger, each with the offset behind it, up to the first that is incomplete.

    A row whose record is not all there (the machine lost power before the disk had it) counts as incomplete.
    """
    if not path.is_file():
        return
    end = 0
    warc_bytes: dict[int, int] = {}
    with path.open("rb") as file:
        for line in file:
            end += len(line)
            try:
                values = json.loads(line)
            except ValueError:
                return
            place = Place(**values.pop("place")) if "place" in values else None
            if place and place.file not in warc_bytes:
                warc = path.with_name(warc_name(place.file))
                warc_bytes[place.file] = warc.stat().st_size if warc.is_file() else 0
            if not line.endswith(b"\n") or (place and place.end > warc_bytes[place.file]):
                return
            values["links"] = tuple(values.get("links", ()))
            yield Row(**values, place=place), end
