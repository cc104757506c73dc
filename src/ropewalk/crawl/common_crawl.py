"""Take WARC files of a Common Crawl as they are: the listing, then the files, each carried on where it broke off.

A file under way lies in scratch, beside it a note of what the server said of the whole: its length, and the ETag or date
that tells one version from another. It is asked for the rest under If-Range (RFC 9110, section 13.1.5), so that a file
that has changed, or a server that gives no ranges, sends all of it anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

from ropewalk.artifact import Part
from ropewalk.crawl import COMMON_CRAWL, CrawlOptions
from ropewalk.crawl.decode import GZIP_MAGIC, TooLargeError, UndecodableError, gunzip
from ropewalk.crawl.fetch import FIRST_BACKOFF_SECONDS, LONGEST_WAIT_SECONDS, retry_after
from ropewalk.crawl.ledger import FETCHED, LEDGER, Ledger, Row
from ropewalk.crawl.warc import write_all
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.loops import complete
from ropewalk.runtime.progress import progress, say, size

AT_ONCE = 4  # Common Crawl answers 503 to the greedy
BARREN_ATTEMPTS = 10  # in a row that bring not one byte: some three minutes
BUSY = (403, 429, 500, 502, 503, 504)  # 403 is what its CDN says to the greedy
MAX_LISTING_BYTES = 100_000_000
CHUNK_BYTES = 1 << 18
SAID_SECONDS = 5.0
_PATH = re.compile(r"(\w[\w.-]*/)+\w[\w.-]*\.warc\.gz", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


def take(options: CrawlOptions, part: Part) -> dict[str, Any]:
    """Fetch the listing and the files it is asked for into `part`, carrying on what is there. Returns the facts.

    Raises:
        InputError: there is no such crawl, or a file cannot be had.
    """
    paths = complete(_take(options, part))
    with closing(Ledger(part.folder / LEDGER, length_bytes=0)) as ledger:
        sizes = [(part.folder / name_of(path)).stat().st_size for path in paths]
        for path, size_bytes in zip(paths, sizes, strict=True):
            ledger.add(Row(COMMON_CRAWL + path, 0, 0, FETCHED, status=200, bytes=size_bytes))
    return {"warcs": len(paths), "bytes": sum(sizes), "outcomes": {FETCHED: len(paths)}}


def choose(paths: Sequence[str], count: int, seed: int | None) -> list[str]:
    """The first `count` of the listing, or those drawn with a seed, in the listing's order.

    What is drawn depends on the paths alone: more files are the same ones and others.
    """
    if seed is None:
        return list(paths[:count])
    drawn = set(sorted(paths, key=lambda path: hashlib.sha256(f"{seed} {path}".encode()).digest())[:count])
    return [path for path in paths if path in drawn]


def name_of(path: str) -> str:
    return path.rpartition("/")[2]


async def _take(options: CrawlOptions, part: Part) -> list[str]:
    base = options.common_crawl_base.rstrip("/") + "/"
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=options.timeout_seconds, sock_read=options.timeout_seconds)
    headers = {"User-Agent": options.user_agent, "Accept-Encoding": "identity"}
    slots = asyncio.Semaphore(min(options.concurrency, AT_ONCE))
    got_bytes = 0

    async with aiohttp.ClientSession(timeout=timeout, headers=headers, auto_decompress=False, trust_env=False) as session:
        listing = f"crawl-data/{options.common_crawl}/warc.paths.gz"
        if not (part.scratch / "warc.paths.gz").is_file():  # asked for once: what is chosen must not change half-way
            await _fetch(session, base + listing, part.scratch / "warc.paths.gz", part.scratch, lambda count: None)
        paths = choose(_read_listing(part.scratch / "warc.paths.gz"), options.warcs, options.warcs_seed)
        left = [path for path in paths if not (part.folder / name_of(path)).is_file()]
        with progress("common crawl", total=len(paths), unit="files", done=len(paths) - len(left)) as bar:

            def advance(count_bytes: int) -> None:
                nonlocal got_bytes
                got_bytes += count_bytes
                bar.advance(0, size(got_bytes))

            async def one(path: str) -> None:
                async with slots:
                    await _fetch(session, base + path, part.folder / name_of(path), part.scratch, advance)
                bar.advance(1)

            await asyncio.gather(*map(one, left))
    return paths


def _read_listing(path: Path) -> list[str]:
    """The listing's paths; nothing in it may lead out of the folder, or hide one file behind another.

    Raises:
        InputError
    """
    try:
        paths = gunzip(path.read_bytes(), MAX_LISTING_BYTES).decode("ascii").split()
    except (UndecodableError, TooLargeError, UnicodeDecodeError) as error:
        path.unlink()
        raise InputError(f"ropewalk crawl: the listing warc.paths.gz cannot be read ({error}): try again") from None
    strange = next((path for path in paths if not _PATH.fullmatch(path)), None)
    if strange is not None or not paths or len({name_of(path) for path in paths}) < len(paths):
        path.unlink()
        raise InputError(
            f"ropewalk crawl: warc.paths.gz is no listing of WARC files ({strange!r:.80}): check the base address"
        )
    return paths


@dataclass(frozen=True)
class Note:
    """What the server said of a file under way. validator: a strong ETag, else a date; empty: it cannot be carried on."""

    length: int | None
    validator: str


class BusyError(Exception):
    """The server asks to come again later."""

    def __init__(self, status: int, wait_seconds: float) -> None:
        super().__init__(f"it answers {status}")
        self.wait_seconds = wait_seconds


async def _fetch(
    session: aiohttp.ClientSession, url: str, target: Path, scratch: Path, advance: Callable[[int], None]
) -> None:
    """Fetch `url` to `target`, whole or not at all.

    Raises:
        InputError: the server does not have it, or not one byte more came in so many attempts.
    """
    draft = scratch / f"{target.name}.part"
    barren, had = 0, _size(draft)
    while True:
        try:
            if await _attempt(session, url, draft, advance):
                break
            why, wait_seconds = "it breaks off", 0.0
        except BusyError as busy:
            why, wait_seconds = str(busy), busy.wait_seconds
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            why, wait_seconds = f"{type(error).__name__}: {error}".splitlines()[0][:200], 0.0
        barren, had = (0 if _size(draft) > had else barren + 1), _size(draft)
        if barren >= BARREN_ATTEMPTS or wait_seconds > LONGEST_WAIT_SECONDS:
            raise InputError(
                f"ropewalk crawl: {url} cannot be had ({why}): check the name, or come later; the same command carries on"
            )
        wait_seconds = max(wait_seconds, min(FIRST_BACKOFF_SECONDS * 2**barren, 60.0))
        if wait_seconds >= SAID_SECONDS:
            say(f"{target.name}: {why}; trying again in {wait_seconds:.0f} s")
        await asyncio.sleep(wait_seconds)
    with draft.open("rb") as file:
        is_gzip = file.read(2) == GZIP_MAGIC
    _note_path(draft).unlink()
    if not is_gzip:
        draft.unlink()
        raise InputError(f"ropewalk crawl: {url} is not a gzip file: check the base address, or a proxy in between")
    draft.replace(target)


async def _attempt(session: aiohttp.ClientSession, url: str, draft: Path, advance: Callable[[int], None]) -> bool:
    """Ask once for what is missing. True if the file is whole; what came is in `draft` in any case."""
    note, have = _read_note(draft), _size(draft)
    if note is not None and have == note.length:
        return True
    headers = {}
    if note is not None and note.validator and have:
        headers = {"Range": f"bytes={have}-", "If-Range": note.validator}
    async with session.get(url, headers=headers) as response:
        if response.status in BUSY:
            raise BusyError(response.status, retry_after(response.headers.get("Retry-After", "")))
        if response.status not in (200, 206, 416):
            raise InputError(f"ropewalk crawl: {url} answers {response.status}: check the name of the crawl")
        if note is None or response.status != 206 or not _goes_on(response, note, have):
            draft.unlink(missing_ok=True)
            if response.status != 200:  # a range that was not asked for, or that is none: all of it, next time
                return False
            note = _write_note(draft, response)
        with draft.open("ab") as file:
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                write_all(file.fileno(), chunk)
                advance(len(chunk))
    return note.length is None or _size(draft) == note.length


def _goes_on(response: aiohttp.ClientResponse, note: Note, have: int) -> bool:
    """Whether a partial answer is the rest of what is there."""
    said = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    same = _validator(response) in ("", note.validator)
    return said is not None and (int(said[1]), int(said[2])) == (have, note.length) and same


def _validator(response: aiohttp.ClientResponse) -> str:
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _write_note(draft: Path, response: aiohttp.ClientResponse) -> Note:
    if response.content_length is None and "chunked" not in response.headers.get("Transfer-Encoding", ""):
        raise InputError(f"ropewalk crawl: {response.url} comes without a length, so nobody can tell whether it is whole")
    note = Note(response.content_length, _validator(response))
    _note_path(draft).write_text(json.dumps(asdict(note)), encoding="utf-8")
    return note


def _read_note(draft: Path) -> Note | None:
    """The note; None if there is none, or a kill left half of one."""
    try:
        return Note(**json.loads(_note_path(draft).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return None


def _note_path(draft: Path) -> Path:
    return draft.with_name(draft.name + ".json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
