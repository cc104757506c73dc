"""Bytes become characters: byte-order mark, valid UTF-8, the server's word, the page's, then detection."""

from __future__ import annotations

from resiliparse.parse.encoding import bytes_to_str, detect_encoding, map_encoding_to_html5

BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
MAX_UNREADABLE_FRACTION = 0.02
SAMPLE_BYTES = 65_536
_CONTROLS = bytes([*range(0x09), *range(0x0E, 0x1B), *range(0x1C, 0x20)])


def decode(payload: bytes, charset: str | None) -> str:
    """Decode a page by the evidence, strongest first, passing over a label under which the bytes are invalid.

    Bytes beyond ASCII that are valid UTF-8 are UTF-8, whatever the label: no other encoding's text looks like that by
    chance, and wrong labels are common. Where all labels fail, the detected encoding is used and what it cannot read
    becomes U+FFFD; `unreadable_fraction` then tells how much that was.
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if payload.startswith(mark):
            return bytes_to_str(payload, encoding, errors="replace", fallback_encodings=())
    text = None if payload.isascii() else _strictly(payload, "utf-8")
    if text is not None:
        return text
    declared = map_encoding_to_html5(charset, fallback_utf8=False) if charset else None
    in_page = detect_encoding(payload, max_len=SAMPLE_BYTES, from_html_meta=True)
    for encoding in (declared, in_page):
        text = _strictly(payload, encoding)
        if text is not None:
            return text
    detected = detect_encoding(payload, max_len=SAMPLE_BYTES) or "utf-8"
    return bytes_to_str(payload, detected, errors="replace", fallback_encodings=())


def unreadable_fraction(text: str) -> float:
    """Fraction of characters that no text has: U+FFFD and control characters. Binary files are full of them."""
    sample = text[:SAMPLE_BYTES]
    encoded = sample.encode("utf-8", "surrogatepass")  # one byte for a control character, and no other byte is like it
    controls = len(encoded) - len(encoded.translate(None, _CONTROLS))
    return (controls + sample.count("\ufffd")) / max(1, len(sample))


def _strictly(payload: bytes, encoding: str | None) -> str | None:
    if encoding is None:
        return None
    try:
        return payload.decode(encoding)
    except (UnicodeError, LookupError):
        return None
