"""Pages to forget: a file of addresses, one a line, or of their beginnings with a * behind.

    # asked for on 2026-11-25
    https://example.org/people/jane.html
    https://example.org/private/*

An address also counts in the crawl's spelling of it (host in lower case, no fragment); http and https are two addresses.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from ropewalk.crawl.urls import normalise
from ropewalk.runtime.errors import InputError

FORGOTTEN = "forgotten"


@dataclass(frozen=True)
class Forgotten:
    """Lines of a file, by what an address is compared with. lengths: of the beginnings, each once."""

    lines: frozenset[str]
    urls: dict[str, str]
    beginnings: dict[str, str]
    lengths: tuple[int, ...]

    def naming(self, url: str) -> set[str]:
        """The lines that name this address; none for a page that may stay."""
        spellings = {url, normalise(url) or url}
        found = {self.urls.get(spelling) for spelling in spellings}
        found |= {self.beginnings.get(spelling[:length]) for spelling in spellings for length in self.lengths}
        return {line for line in found if line is not None}


def read_forgotten(path: Path) -> Forgotten:
    """Read the file. Empty lines and those that begin with # are passed over.

    Raises:
        InputError: no such file, not UTF-8, or a line that would forget everything.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file: give one with an address on each line")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8: save the file as UTF-8") from None
    if "*" in lines:
        raise InputError(f"{path}, line {lines.index('*') + 1} names every page: write the beginning of an address before *")
    lines = [line for line in lines if line and not line.startswith("#")]
    exact = [line for line in lines if not line.endswith("*")]
    urls = {normalise(line) or line: line for line in exact} | {line: line for line in exact}
    beginnings = {line.removesuffix("*"): line for line in lines if line.endswith("*")}
    return Forgotten(frozenset(lines), urls, beginnings, tuple(sorted({len(text) for text in beginnings})))


@functools.cache
def load_forgotten(path: Path) -> Forgotten:
    """The same, once in a process."""
    return read_forgotten(path)
