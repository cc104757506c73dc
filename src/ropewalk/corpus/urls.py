"""Drop pages by their URL before they are read: FineWeb's first filter (Penedo et al. 2024), over lists that a user brings.

    domains               a domain a line: it and all below it are blocked
    urls                  a URL a line, blocked if a page's is the same to the letter
    banned_words.txt      a word a line: blocked if the URL has it between characters other than letters and digits
    soft_banned_words.txt a word a line: blocked if the URL has two of them
    banned_subwords.txt   a string a line: blocked if it stands anywhere in the URL's letters and digits

Any of the files may be missing; lines that begin with # are left out. The names are those of the lists that datatrove 0.10
carries and of the University of Toulouse's, so that their folders serve as they are. Decisions are those of datatrove's
`URLFilter`, but that it asks for a page's registered domain and its full one, and we for every domain above the page.

Domains and URLs are held as sorted 64-bit hashes: 37 MB for 4.6 million, where a set of strings takes ten times as much.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from ropewalk.crawl.urls import site_host
from ropewalk.runtime.errors import InputError

DOMAINS, URLS = "domains", "urls"
WORDS, SOFT_WORDS, SUBWORDS = "banned_words.txt", "soft_banned_words.txt", "banned_subwords.txt"
SOFT_WORDS_ENOUGH = 2
BLOCK_CHARACTERS = 4_000_000
_OTHER = re.compile(r"[^a-zA-Z0-9]+")


@dataclass(frozen=True)
class UrlLists:
    """Lists of one folder. domains, urls: sorted uint64 hashes."""

    domains: np.ndarray
    urls: np.ndarray
    words: frozenset[str]
    soft_words: frozenset[str]
    subwords: re.Pattern[str] | None

    def reason(self, url: str) -> str | None:
        """Why a URL is blocked, or None. Asked in FineWeb's order."""
        if _holds(self.domains, list(_domains_above(url))):
            return "blocked_domain"
        if _holds(self.urls, [url]):
            return "blocked_url"
        words = set(_OTHER.split(url))
        if not self.words.isdisjoint(words):
            return "banned_word"
        if len(self.soft_words & words) >= SOFT_WORDS_ENOUGH:
            return "soft_banned_words"
        if self.subwords is not None and self.subwords.search(_OTHER.sub("", url).lower()):
            return "banned_subword"
        return None


@lru_cache(maxsize=1)
def load_url_lists(folder: Path) -> UrlLists:
    """Read a folder of lists, once in a process.

    Raises:
        InputError: none of the files is there, or one is no text.
    """
    if not any((folder / name).is_file() for name in (DOMAINS, URLS, WORDS, SOFT_WORDS, SUBWORDS)):
        raise InputError(f"{folder} holds no list of URLs: bring one of the files {DOMAINS}, {URLS}, {WORDS} ...")
    subwords = _normal_words(folder / SUBWORDS)
    return UrlLists(
        domains=_hashed_lines(folder / DOMAINS, lower=True),
        urls=_hashed_lines(folder / URLS),
        words=_normal_words(folder / WORDS),
        soft_words=_normal_words(folder / SOFT_WORDS),
        subwords=re.compile("|".join(sorted(subwords))) if subwords else None,
    )


def _hashed_lines(path: Path, *, lower: bool = False) -> np.ndarray:
    """The hashes of a file's entries, of a part of its lines at a time: millions of strings would take ten times as much."""
    parts = [np.empty(0, dtype=np.uint64)]
    for lines in _lines(path):
        parts.append(_hashes(lines.str.to_lowercase() if lower else lines))
    return np.sort(np.concatenate(parts))  # numpy 2.4's unique takes fifty times as long


def _lines(path: Path) -> Iterator[pl.Series]:
    """The entries of a file, some megabytes at a time; none where there is no file."""
    if not path.is_file():
        return
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            while block := file.read(BLOCK_CHARACTERS) + file.readline():
                entries = pl.Series([block]).str.split("\n").explode()
                entries = entries.filter(~entries.str.starts_with("#")).str.strip_chars()
                yield entries.filter(entries != "")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text ({error}): write one entry a line, in UTF-8") from None


def _normal_words(path: Path) -> frozenset[str]:
    return frozenset(_OTHER.sub("", line).lower() for lines in _lines(path) for line in lines) - {""}


def _domains_above(url: str) -> Iterator[str]:
    """A URL's host, and every domain that it belongs to."""
    host = site_host(url).partition(":")[0].lower().strip(".")
    while host:
        yield host
        host = host.partition(".")[2]


def _hashes(strings: list[str] | pl.Series) -> np.ndarray:
    """Hashes of polars, which hold within a process and are never stored."""
    return pl.Series(strings, dtype=pl.String).hash(seed=1).to_numpy()


def _holds(known: np.ndarray, strings: list[str]) -> bool:
    """Whether any of the strings is among those that `known` was made of."""
    if not len(known) or not strings:
        return False
    wanted = _hashes(strings)
    places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return bool((known[places] == wanted).any())
