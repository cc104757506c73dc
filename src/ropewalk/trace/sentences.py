"""Cut text into sentences, by plain rules: what evidence is looked for in."""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST_CHARACTERS = 1_000
# A line this long without a full stop goes on in the next one, if pages break lines (manuals in plain text do, near 70).
WRAPPED_LINE_CHARACTERS = 60

_CLOSING = "\"'”’»)\\]"
_BOUNDARY = re.compile(rf"(?P<stop>[.!?…]+[{_CLOSING}]*)\s+|(?P<wide>[。！？]+)\s*|\s*\n\s*")
_ABBREVIATION = re.compile(
    r"(?:^|[^\w.])(?:[^\W\d_](?:\.[^\W\d_])*|St|Ste|Mt|Ft|Mr|Mrs|Ms|Dr|Prof|Gen|Gov|Rev|Jr|Sr|No|Nos|vs|cf|ca|approx|etc|Inc|Co|Ltd|Fig)\.$"
)
_WORD = re.compile(r"[^\W_]")


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence with a letter or digit in it, in order; over 1,000 characters they are cut at a space.

    A sentence ends at a stop before a space, unless a small letter or an abbreviation says otherwise; at an empty line; and
    at a line's end, unless the line seems broken for its length.
    """
    start = 0
    for boundary in _BOUNDARY.finditer(text):
        if _divides(text, boundary):
            yield from _pieces(text, start, boundary.end())
            start = boundary.end()
    yield from _pieces(text, start, len(text))


def _divides(text: str, boundary: re.Match[str]) -> bool:
    if boundary["wide"] or boundary[0].count("\n") > 1:
        return True
    goes_on = text[boundary.end() : boundary.end() + 1].islower()
    if boundary["stop"]:
        at = boundary.end("stop")
        return not (goes_on or _ABBREVIATION.search(text, max(0, at - 20), at))
    line_start = text.rfind("\n", 0, boundary.start()) + 1
    is_full = boundary.start() - line_start >= WRAPPED_LINE_CHARACTERS
    return not (goes_on or (is_full and text[boundary.start() - 1] not in ":;.!?"))


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A sentence without the space around it, in pieces of at most 1,000 characters."""
    while start < end:
        cut = end
        if end - start > LONGEST_CHARACTERS:
            cut = text.rfind(" ", start + 1, start + LONGEST_CHARACTERS)
            cut = cut if cut > 0 else start + LONGEST_CHARACTERS
        piece = text[start:cut]
        if _WORD.search(piece):
            yield start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
        start = cut
