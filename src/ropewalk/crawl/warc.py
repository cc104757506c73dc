"""Write and read WARC files: a gzip member per record, as the standard recommends and Common Crawl does.

Reading is framed here and parsed by fastwarc: given a truncated or damaged file, fastwarc 2.0.1 stops without a word or
hands over a short payload, and it does not check gzip's CRC. Here every member is checked whole before its record is
parsed, and what cannot be read is reported as a `Fault`. Read are also plain files, and a zstd frame per record, with a
dictionary in front or without: https://iipc.github.io/warc-specifications/specifications/warc-zstd/.
"""

from __future__ import annotations

import codecs
import functools
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from fastwarc.stream_io import GzipWriter
from fastwarc.warc import WarcRecord, WarcRecordType

from ropewalk.crawl.decode import (
    DECOMPRESSION_ERRORS,
    GZIP_MAGIC,
    READ_BYTES,
    ZSTD_MAGIC,
    Feed,
    Inflater,
    TooLargeError,
    UndecodableError,
    decode_content,
    gzip_inflater,
    inflate,
    zstd_dictionary,
    zstd_inflater,
)

ROLL_BYTES = 1_000_000_000
MAX_RECORD_BYTES = 256_000_000
GZIP_LEVEL = 6
DICTIONARY_MAGIC = b"\x5d\x2a\x4d\x18"
MAX_DICTIONARY_BYTES = 16_000_000
PROBE_BYTES = 4096
MAX_URL_CHARACTERS = 8_192
MAX_LINE_BYTES = 1 << 16
RIGHTS_HEADERS = ("x-robots-tag", "tdm-reservation", "link")
_LINE_ENDS = re.compile(rb"[\r\n]*")
_CONTENT_LENGTH = re.compile(rb"\nContent-Length:[ \t]*(\d{1,15})\r?\n", re.IGNORECASE)


@dataclass(frozen=True)
class Page:
    """A page as it was fetched.

    payload: decoded of any transfer or content encoding, but still in the page's own charset.
    content_type: media type in lower case, without parameters; empty if the record names none.
    charset: a Python codec name from the HTTP header; None if it gives none, then the bytes have to tell.
    last_modified: ISO date from the HTTP Last-Modified header.
    record_id: the WARC-Record-ID.
    headers: the HTTP headers of RIGHTS_HEADERS, (name in lower case, value), as often as each was sent.
    """

    url: str
    page_id: str
    payload: bytes
    content_type: str
    charset: str | None
    last_modified: str | None
    record_id: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Fault:
    """Something that cannot be read.

    where: file and byte offset. what: the end of a sentence that begins with it. url: the page's, or where that is not
    known the place: file:NAME#byte=OFFSET.
    """

    where: str
    what: str
    url: str


@dataclass(frozen=True)
class Place:
    """Where a record lies: its file's number, its offset and its length in bytes."""

    file: int
    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


def page_id(url: str, payload: bytes) -> str:
    """The name of a page through the whole line: the same for the same bytes at the same address."""
    return hashlib.sha256(url.encode() + b"\n" + payload).hexdigest()


def warc_name(number: int) -> str:
    return f"pages-{number:05d}.warc.gz"


def encode_response(url: str, http_head: bytes, payload: bytes, *, content_type: str) -> bytes:
    """A `response` record, compressed. `http_head` is the status line and headers with their closing empty line."""
    record = WarcRecord()
    record.init_headers(WarcRecordType.response)
    record.headers["WARC-Target-URI"] = url
    record.headers["WARC-Identified-Payload-Type"] = content_type
    record.is_http = True
    record.set_bytes_content(http_head + payload)
    record.parse_http()  # so that the payload digest is computed, over the payload alone
    return _compressed(record)


def encode_info(name: str, fields: Mapping[str, str]) -> bytes:
    """A `warcinfo` record, compressed: who made the file `name`, and how."""
    record = WarcRecord()
    record.init_headers(WarcRecordType.warcinfo)
    record.headers["WARC-Filename"] = name
    record.headers["Content-Type"] = "application/warc-fields"
    record.set_bytes_content("".join(f"{key}: {value}\r\n" for key, value in fields.items()).encode())
    return _compressed(record)


def _compressed(record: WarcRecord) -> bytes:
    buffer = io.BytesIO()
    writer = GzipWriter(buffer, GZIP_LEVEL)
    record.write(writer, checksum_data=True)
    writer.finish()
    return buffer.getvalue()


class WarcWriter:
    """Append records to numbered files in a folder; a new one begins past `ROLL_BYTES`.

    Each record is with the operating system when `write` returns, so that a killed process loses none.
    """

    def __init__(self, folder: Path, info: Mapping[str, str], *, last: Place | None = None) -> None:
        """Carry on after the record at `last`: what lies behind it was never journaled and goes."""
        self.folder, self.info = folder, info
        self.number = last.file if last else 0
        for path in folder.glob(warc_name(0).replace("00000", "*")):
            if path.name > warc_name(self.number):
                path.unlink()
        self._open(last.end if last else 0)

    def _open(self, offset: int) -> None:
        name = warc_name(self.number)
        self.file = os.open(self.folder / name, os.O_CREAT | os.O_WRONLY, 0o666)
        os.ftruncate(self.file, offset)
        self.offset = os.lseek(self.file, offset, os.SEEK_SET)
        if offset == 0:
            self._append(encode_info(name, self.info))

    def write(self, record: bytes) -> Place:
        if self.offset >= ROLL_BYTES:
            self.close()
            self.number += 1
            self._open(0)
        place = Place(self.number, self.offset, len(record))
        self._append(record)
        return place

    def _append(self, data: bytes) -> None:
        write_all(self.file, data)
        self.offset += len(data)

    def close(self) -> None:
        os.close(self.file)


def write_all(file: int, data: bytes) -> None:
    """Write to a file descriptor until all is written: a nearly full disk takes a part, then raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def read_pages(path: Path) -> Iterator[Page | Fault]:
    """Read the pages of a WARC or WET file, whoever wrote it, compressed or not: see `read_pages_from`.

    Raises:
        OSError: the file cannot be opened or read at all.
    """
    with path.open("rb") as file:
        yield from read_pages_from(file, path.name)


def read_pages_from(file: BinaryIO, name: str) -> Iterator[Page | Fault]:
    """Read the pages of an open file that can seek; `name` says where, in faults.

    `response` records of HTTP and `conversion` records give a page each; all other records are passed over. Damage
    gives a `Fault`, and reading goes on at the next whole record; a file cut short gives all its whole records first.
    """
    for offset, block in _blocks(file):
        where = f"{name} at byte {offset:,}"
        place = f"file:{name}#byte={offset}"
        if isinstance(block, str):
            yield Fault(where, block, place)
            continue
        for record in _records(block):
            page = Fault(where, record, place) if isinstance(record, str) else _page(record, where, place)
            if page is not None:
                yield page


def _page(data: bytes, where: str, place: str) -> Page | Fault | None:
    """One record as a page; None for a record of another type, or an answer other than success."""
    url = place
    try:
        record = WarcRecord.from_bytes(data)
        url = _url(record) or place
        if record.record_type == WarcRecordType.conversion:
            content_type = record.headers.get("Content-Type") or "text/plain"
            return _made_page(url, record, record.reader.read(), content_type, "utf-8", None)
        if record.record_type != WarcRecordType.response or not record.is_http:
            return None
        record, payload = _parse_http(record, data)
        headers = record.http_headers
        if headers is None or headers.status_code is None:
            return Fault(where, "has no HTTP status line", url)
        if not 200 <= headers.status_code < 300:
            return None
        payload = decode_content(payload, headers.get("Content-Encoding") or "", limit_bytes=MAX_RECORD_BYTES)
    except (OSError, UndecodableError, TooLargeError) as error:
        return Fault(where, str(error), url)
    content_type = record.http_content_type or record.headers.get("WARC-Identified-Payload-Type") or ""
    modified = record.http_last_modified
    page = _made_page(
        url, record, payload, content_type, record.http_charset, modified.date().isoformat() if modified else None
    )
    return replace(page, headers=tuple((name.lower(), value) for name, value in headers if name.lower() in RIGHTS_HEADERS))


def _parse_http(record: WarcRecord, data: bytes) -> tuple[WarcRecord, bytes]:
    """Split off the HTTP headers and undo chunked transfer. Some archives keep that header over a body that is not."""
    try:
        record.parse_http(auto_decode="transfer")
        return record, record.reader.read()
    except OSError:
        record = WarcRecord.from_bytes(data)
        record.parse_http()
        body = record.reader.read()
        if re.match(rb"[0-9a-fA-F]+[ \t]*(;[^\r\n]*)?\r\n", body):
            raise
        return record, body


def _url(record: WarcRecord) -> str:
    """The page's address; the record's own name, urn:uuid:..., where it has none that could be one."""
    url = record.headers.get("WARC-Target-URI", "") or ""
    url = url.removeprefix("<").removesuffix(">")  # WARC 1.0 examples, and wget, bracket it
    return url if 0 < len(url) <= MAX_URL_CHARACTERS else (record.record_id or "").strip("<>")[:MAX_URL_CHARACTERS]


def _made_page(
    url: str, record: WarcRecord, payload: bytes, content_type: str, charset: str | None, modified: str | None
) -> Page:
    return Page(
        url=url,
        page_id=page_id(url, payload),
        payload=payload,
        content_type=content_type.partition(";")[0].strip().lower(),
        charset=known_charset(charset),
        last_modified=modified,
        record_id=record.record_id or "",
    )


def known_charset(name: str | None) -> str | None:
    """The Python codec for a charset name from the wild; None if there is none that decodes text."""
    try:
        codec = codecs.lookup((name or "").strip().strip("\"'"))
    except (LookupError, ValueError):
        return None
    return codec.name if codec._is_text_encoding else None  # pyright: ignore[reportAttributeAccessIssue]


def _records(block: bytes) -> Iterator[bytes | str]:
    """Cut decompressed bytes into records by their Content-Length; a str says what is wrong with the rest."""
    position = 0
    while (position := _LINE_ENDS.match(block, position).end()) < len(block):  # pyright: ignore[reportOptionalMemberAccess]
        end = _record_end(block, position)
        if isinstance(end, str):
            yield end
            return
        yield block[position:end]
        position = end


def _record_end(block: bytes, start: int) -> int | str:
    head_end = block.find(b"\r\n\r\n", start)
    if not block.startswith(b"WARC/", start) or head_end < 0:
        return "is not a WARC record"
    length = _CONTENT_LENGTH.search(block, start, head_end + 2)
    if length is None:
        return "has no Content-Length"
    end = head_end + 4 + int(length[1])
    return end if end <= len(block) else "is cut short"


@dataclass(frozen=True)
class _Codec:
    """How the records of a file are compressed, each by itself. magic: what each of them begins with."""

    magic: bytes
    new_inflater: Callable[[], Inflater]

    def begins_record(self, member: bytes) -> bool:
        try:
            return self.new_inflater().decompress(member, 5) == b"WARC/"
        except DECOMPRESSION_ERRORS:
            return False


def _blocks(file: BinaryIO) -> Iterator[tuple[int, bytes | str]]:
    """Offset and content of every member or frame, or every record of a plain file; a str says what is wrong there."""
    head = file.read(8)
    file.seek(0)
    if head.startswith(GZIP_MAGIC):
        yield from _members(file, _Codec(GZIP_MAGIC + b"\x08", gzip_inflater))
    elif head.startswith(ZSTD_MAGIC):
        yield from _members(file, _Codec(ZSTD_MAGIC, zstd_inflater))
    elif head.startswith(DICTIONARY_MAGIC):
        length = int.from_bytes(head[4:], "little")
        try:
            if length > MAX_DICTIONARY_BYTES:
                raise TooLargeError(f"has a dictionary of {length:,} bytes, over {MAX_DICTIONARY_BYTES:,}")
            dictionary = zstd_dictionary(file.read(8 + length)[8:], MAX_DICTIONARY_BYTES)
        except (UndecodableError, TooLargeError) as error:
            yield 0, str(error)
            return
        yield from _members(file, _Codec(ZSTD_MAGIC, functools.partial(zstd_inflater, dictionary)), 8 + length)
    else:
        yield from _plain_records(file)


def _members(file: BinaryIO, codec: _Codec, offset: int = 0) -> Iterator[tuple[int, bytes | str]]:
    feed = Feed(file, offset)
    while piece := feed.take():
        feed.give_back(len(piece))
        offset = feed.offset
        try:
            yield offset, inflate(feed, codec.new_inflater(), MAX_RECORD_BYTES)
            continue
        except UndecodableError as error:
            yield offset, str(error)
        except TooLargeError as error:
            yield offset, f"{error}; compress each record by itself"
        offset = _next_record(file, offset + 1, codec)
        if offset < 0:
            return
        file.seek(offset)
        feed = Feed(file, offset)


def _next_record(file: BinaryIO, offset: int, codec: _Codec) -> int:
    """Offset of the next member, at `offset` or behind, that begins a WARC record; -1 if there is none."""
    while True:
        file.seek(offset)
        window = file.read(READ_BYTES + PROBE_BYTES)
        last = len(window) < READ_BYTES + PROBE_BYTES
        found = window.find(codec.magic)
        while found >= 0 and (last or found < READ_BYTES):
            if codec.begins_record(window[found : found + PROBE_BYTES]):
                return offset + found
            found = window.find(codec.magic, found + 1)
        if last:
            return -1
        offset += READ_BYTES


def _plain_records(file: BinaryIO) -> Iterator[tuple[int, bytes | str]]:
    while True:
        offset = file.tell()
        line = file.readline(MAX_LINE_BYTES)
        if not line:
            return
        if not line.strip():
            continue
        head = line
        while line.strip() and len(head) < MAX_LINE_BYTES:
            line = file.readline(MAX_LINE_BYTES)
            if not line:
                break
            head += line
        length = _CONTENT_LENGTH.search(head)
        if not head.startswith(b"WARC/") or length is None:
            yield offset, "is not a WARC record"
            return
        if int(length[1]) > MAX_RECORD_BYTES:
            yield offset, f"is larger than {MAX_RECORD_BYTES:,} bytes"
            file.seek(int(length[1]), os.SEEK_CUR)
            continue
        body = file.read(int(length[1]))
        whole = len(body) == int(length[1])
        yield offset, head + body if whole else "is cut short in the middle of a record"
