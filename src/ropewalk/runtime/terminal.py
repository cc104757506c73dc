"""Make text that others wrote fit to print: a terminal obeys escape sequences in an address as it does our own."""

from __future__ import annotations

import re

# All controls but newline and tab, and the lone surrogates of file names that are not UTF-8, which cannot be printed.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` with every control character but newline and tab replaced."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    """`text` as `printable`, on one line and without tabs: for a row of a list, or a comment in a file."""
    return printable(text.replace("\n", " ").replace("\t", " "))
