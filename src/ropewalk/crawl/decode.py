"""Undo compression without trusting it: the output is bounded, a broken stream is an error."""

from __future__ import annotations

import io
import sys
import zlib
from collections.abc import Callable
from typing import BinaryIO, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
READ_BYTES = 1 << 18
PIECE_BYTES = 1 << 14
MAX_CODINGS = 4
DECOMPRESSION_ERRORS = (zlib.error, zstd.ZstdError)


class UndecodableError(ValueError):
    """The bytes are not what their Content-Encoding says, or it is one we do not know."""


class TooLargeError(ValueError):
    """The decoded bytes pass the limit."""


class Inflater(Protocol):
    """What zlib and zstd have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Feed:
    """A file's bytes in small pieces, the last of which can be given back.

    Inflaters copy what lies behind the end of their stream. With pieces of 16 kB a file of empty gzip members costs that
    much a member, not all that was read.
    """

    def __init__(self, file: BinaryIO, offset: int = 0) -> None:
        self.file, self.offset = file, offset
        self.buffer, self.at = b"", 0

    def take(self) -> bytes:
        """The next piece, empty at the end."""
        if self.at == len(self.buffer):
            self.buffer, self.at = self.file.read(READ_BYTES), 0
        piece = self.buffer[self.at : self.at + PIECE_BYTES]
        self.at += len(piece)
        self.offset += len(piece)
        return piece

    def give_back(self, count: int) -> None:
        """Put the last `count` bytes taken back, no more than the last piece."""
        self.at -= count
        self.offset -= count


def decode_content(raw: bytes, encodings: str, *, limit_bytes: int) -> bytes:
    """Decode `raw` by a Content-Encoding header, which may name several codings, the last one applied last.

    Raises:
        UndecodableError, TooLargeError
    """
    names = [name.strip().lower() for name in encodings.split(",") if name.strip()]
    if len(names) > MAX_CODINGS:
        raise UndecodableError(f"is encoded {len(names)} times over")
    for name in reversed(names):
        if name not in _CODINGS:
            raise UndecodableError(f"has the unknown content-encoding {name!r}")
        raw = _CODINGS[name](raw, limit_bytes)
    if len(raw) > limit_bytes:
        raise TooLargeError(f"is larger than {limit_bytes:,} bytes")
    return raw


def inflate(feed: Feed, inflater: Inflater, limit_bytes: int) -> bytes:
    """One gzip member or zstd frame; `feed` then stands behind it.

    Raises:
        UndecodableError, TooLargeError: `feed` then stands somewhere inside.
    """
    out = bytearray()
    while piece := feed.take():
        try:
            out += inflater.decompress(piece, limit_bytes + 1 - len(out))
        except DECOMPRESSION_ERRORS as error:
            raise UndecodableError(f"cannot be decompressed ({error})") from None
        if len(out) > limit_bytes:
            raise TooLargeError(f"is larger than {limit_bytes:,} bytes once decompressed")
        if inflater.eof:
            feed.give_back(len(inflater.unused_data))
            return bytes(out)
    raise UndecodableError("is compressed and ends too early")


def gzip_inflater() -> Inflater:
    return zlib.decompressobj(wbits=31)


def zstd_inflater(dictionary: zstd.ZstdDict | None = None) -> Inflater:
    """Frames that ask for a window over 128 MB, libzstd's default limit, are refused as damaged."""
    return zstd.ZstdDecompressor(zstd_dict=dictionary)


def zstd_dictionary(content: bytes, limit_bytes: int) -> zstd.ZstdDict:
    """A dictionary, which may itself be compressed.

    Raises:
        UndecodableError, TooLargeError
    """
    if content.startswith(ZSTD_MAGIC):
        content = _unzstd(content, limit_bytes)
    try:
        return zstd.ZstdDict(content)
    except ValueError as error:
        raise UndecodableError(f"has a damaged dictionary ({error})") from None


def gunzip(raw: bytes, limit_bytes: int) -> bytes:
    """All members of a gzip stream. Bytes after the last member are ignored, as browsers do."""
    return _inflate_all(raw, gzip_inflater, GZIP_MAGIC, limit_bytes)


def _unzstd(raw: bytes, limit_bytes: int) -> bytes:
    return _inflate_all(raw, zstd_inflater, ZSTD_MAGIC, limit_bytes)


def _inflate_all(raw: bytes, new_inflater: Callable[[], Inflater], magic: bytes, limit_bytes: int) -> bytes:
    out = bytearray()
    feed = Feed(io.BytesIO(raw))
    while feed.offset < len(raw):
        out += inflate(feed, new_inflater(), limit_bytes - len(out))
        if not raw.startswith(magic, feed.offset):
            break
    return bytes(out)


def _deflate(raw: bytes, limit_bytes: int) -> bytes:
    """The standard says zlib; some servers send it without the zlib header, and browsers put up with that."""
    try:
        return inflate(Feed(io.BytesIO(raw)), zlib.decompressobj(), limit_bytes)
    except UndecodableError:
        return inflate(Feed(io.BytesIO(raw)), zlib.decompressobj(wbits=-15), limit_bytes)


def _brotli(raw: bytes, limit_bytes: int) -> bytes:
    from fastwarc.stream_io import BrotliReader

    reader = BrotliReader(io.BytesIO(raw))
    out = bytearray()
    try:
        while chunk := reader.read(65536):
            out += chunk
            if len(out) > limit_bytes:
                raise TooLargeError(f"is larger than {limit_bytes:,} bytes once decompressed")
    except OSError as error:
        raise UndecodableError(f"cannot be decompressed ({error})") from None
    return bytes(out)


def _identity(raw: bytes, limit_bytes: int) -> bytes:
    return raw


_CODINGS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": gunzip,
    "x-gzip": gunzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _unzstd,
    "identity": _identity,
}
