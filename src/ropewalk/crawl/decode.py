"""Undo an HTTP Content-Encoding without trusting it: the output is bounded, a broken stream is an error."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable


class UndecodableError(ValueError):
    """The bytes are not what their Content-Encoding says, or it is one we do not know."""


class TooLargeError(ValueError):
    """The decoded bytes pass the limit."""


def decode_content(raw: bytes, encodings: str, *, limit_bytes: int) -> bytes:
    """Decode `raw` by a Content-Encoding header, which may name several codings, the last one applied last.

    Raises:
        UndecodableError, TooLargeError
    """
    for name in reversed([name.strip().lower() for name in encodings.split(",") if name.strip()]):
        if name not in _CODINGS:
            raise UndecodableError(f"has the unknown content-encoding {name!r}")
        raw = _CODINGS[name](raw, limit_bytes)
    if len(raw) > limit_bytes:
        raise TooLargeError(f"is larger than {limit_bytes:,} bytes")
    return raw


def gunzip(raw: bytes, limit_bytes: int) -> bytes:
    """All members of a gzip stream. Bytes after the last member are ignored, as browsers do."""
    out = bytearray()
    while raw:
        inflater = zlib.decompressobj(wbits=31)
        out += _inflate(inflater, raw, limit_bytes - len(out))
        raw = inflater.unused_data
        if not raw.startswith(b"\x1f\x8b"):
            break
    return bytes(out)


def _deflate(raw: bytes, limit_bytes: int) -> bytes:
    """The standard says zlib; some servers send it without the zlib header, and browsers put up with that."""
    try:
        return _inflate(zlib.decompressobj(), raw, limit_bytes)
    except UndecodableError:
        return _inflate(zlib.decompressobj(wbits=-15), raw, limit_bytes)


def _inflate(inflater: zlib._Decompress, raw: bytes, limit_bytes: int) -> bytes:
    try:
        out = inflater.decompress(raw, limit_bytes + 1)
    except zlib.error as error:
        raise UndecodableError(f"cannot be decompressed ({error})") from None
    if len(out) > limit_bytes:
        raise TooLargeError(f"is larger than {limit_bytes:,} bytes once decompressed")
    if not inflater.eof:
        raise UndecodableError("is compressed and ends too early")
    return out


def _brotli(raw: bytes, limit_bytes: int) -> bytes:
    from fastwarc.stream_io import BrotliReader

    return _drain(BrotliReader(io.BytesIO(raw)), limit_bytes)


def _zstd(raw: bytes, limit_bytes: int) -> bytes:
    from fastwarc.stream_io import ZstdReader

    return _drain(ZstdReader(io.BytesIO(raw)), limit_bytes)


def _drain(reader, limit_bytes: int) -> bytes:  # noqa: ANN001 (fastwarc's readers share no exported base but the stubs')
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
    "zstd": _zstd,
    "identity": _identity,
}
