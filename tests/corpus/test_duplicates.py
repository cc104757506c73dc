"""Planted duplicates of real text are found as often as theory says, and little else is."""

from __future__ import annotations

import functools
import importlib
import itertools
import pydoc
import random

import numpy as np
import pytest

from ropewalk.corpus.duplicates import band_hashes, dump_of, text_hash
from ropewalk.corpus.spill import Spill
from ropewalk.corpus.words import split_words

MODULES = (
    "argparse ast asyncio codecs collections configparser ctypes datetime decimal difflib email.message fractions "
    "html.parser http.server ipaddress json locale logging optparse os pathlib pickle pprint queue random re shutil socket "
    "statistics string subprocess tarfile threading turtle typing unittest urllib.request uuid xml.dom.minidom zipfile"
)
DOCUMENT_WORDS = 300
BANDS, BAND_HASHES = 14, 8


@functools.cache
def manuals() -> list[str]:
    """Pages of what Python says of its own modules, 300 words each; none shares a fifth of its runs with those before."""
    pages, seen = [], set()
    for name in MODULES.split():
        page, size = [], 0
        for line in pydoc.plain(pydoc.render_doc(importlib.import_module(name))).splitlines():
            page.append(line)
            size += len(line.split())
            if size >= DOCUMENT_WORDS:
                runs = shingles("\n".join(page))
                if len(runs & seen) < len(runs) / 5:
                    pages.append("\n".join(page))
                    seen |= runs
                page, size = [], 0
    return pages


def edited(text: str, fraction: float, seed: int) -> str:
    """The text with that fraction of its words replaced by words from elsewhere in it."""
    chance = random.Random(seed)
    words = text.split(" ")
    return " ".join(f"{chance.choice(words)}x{seed}" if chance.random() < fraction else word for word in words)


@functools.lru_cache(maxsize=1_000)
def shingles(text: str) -> set[tuple[str, ...]]:
    words = split_words(text.lower())
    return {tuple(words[start : start + 5]) for start in range(max(1, len(words) - 4))}


def jaccard(one: str, other: str) -> float:
    left, right = shingles(one), shingles(other)
    return len(left & right) / len(left | right)


def bands_of(texts: list[str]) -> np.ndarray:
    return np.array([band_hashes(text, bands=BANDS, band_hashes=BAND_HASHES) for text in texts], dtype=np.uint64)


def theory(similarity: np.ndarray) -> np.ndarray:
    return 1 - (1 - similarity**BAND_HASHES) ** BANDS


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, np.ndarray]:
    """(similarity, found) for pairs of a page and an edited one."""
    pages = manuals()
    pairs = [
        (page, edited(page, fraction, seed))
        for seed, fraction in enumerate([0.002, 0.004, 0.006, 0.01, 0.012, 0.012, 0.014, 0.014, 0.016, 0.018])
        for page in pages
    ]
    same = bands_of([one for one, _ in pairs]) == bands_of([other for _, other in pairs])
    return np.array([jaccard(*pair) for pair in pairs]), same.any(axis=1)


def test_exact_duplicates_are_found_whatever_their_spaces_and_case():
    pages = manuals()
    assert len(pages) > 250
    for page in pages:
        assert text_hash("\n\n".join(page.upper().split())) == text_hash(page)
    distinct = {" ".join(page.casefold().split()) for page in pages}
    assert len({text_hash(page) for page in pages}) == len(distinct)


def test_near_duplicates_above_85_are_found(planted):
    similarity, found = planted
    near = similarity >= 0.85
    assert near.sum() > 1_000
    assert found[near].mean() >= 0.99


@pytest.mark.parametrize(("low", "high"), [(0.75, 0.8), (0.8, 0.85), (0.75, 0.85)])
def test_between_they_are_found_as_often_as_theory_says(planted, low, high):
    similarity, found = planted
    between = (low <= similarity) & (similarity < high)
    assert between.sum() > 300
    assert abs(found[between].mean() - theory(similarity[between]).mean()) < 0.05


def test_what_is_linked_is_alike(tmp_path):
    pages = manuals()
    fractions = itertools.cycle([0.005, 0.01, 0.02, 0.05, 0.1, 0.2])
    texts = pages + [edited(page, fraction, 7) for page, fraction in zip(pages, fractions, strict=False)]
    bands, rows = bands_of(texts), np.arange(len(texts))
    edges: set[tuple[int, int]] = set()
    for band in range(BANDS):
        spill = Spill(tmp_path / str(band), lanes=1, expected=len(texts), file_records=500)
        spill.add(bands[:, band], rows)
        edges |= {(one, other) for found in spill.edges() for one, other in found.tolist()}
    similarity = np.array([jaccard(texts[one], texts[other]) for one, other in sorted(edges)])
    assert len(edges) > len(pages) / 3
    assert (similarity < 0.5).mean() <= 0.01


def test_short_texts_have_bands_too():
    assert band_hashes("two words", bands=14, band_hashes=8) == band_hashes("Two, words!", bands=14, band_hashes=8)
    assert band_hashes("", bands=2, band_hashes=2) != band_hashes("word", bands=2, band_hashes=2)


def test_bands_are_the_same_on_every_machine():
    """Frozen: signatures made by other versions or machines must compare."""
    assert band_hashes("the quick brown fox jumps over the lazy dog", bands=2, band_hashes=4) == [
        16843382128543433339,
        9785497733593481219,
    ]


def test_exact_hash_ignores_case_and_spaces_only():
    assert text_hash("The  Sea\n\nis wide") == text_hash("the sea is wide")
    assert text_hash("the sea is wide") != text_hash("the sea is wide.")


def test_texts_of_two_dumps_have_nothing_in_common():
    text = manuals()[0]
    one, other = (band_hashes(text, bands=14, band_hashes=8, within=name) for name in ("CC-MAIN-2024-10", "CC-MAIN-2024-18"))
    assert not set(one) & set(other)
    assert len({text_hash(text, within=name) for name in ("", "CC-MAIN-2024-10", "CC-MAIN-2024-18")}) == 3


@pytest.mark.parametrize(
    ("file", "dump"),
    [
        (
            "crawl-data/CC-MAIN-2024-10/segments/1/warc/CC-MAIN-20240220211055-20240221001055-00000.warc.gz",
            "CC-MAIN-2024-10",
        ),
        ("CC-MAIN-20240220211055-20240221001055-00000.warc.gz", ""),
        ("march/a/pages.warc.gz", "march"),
        ("pages.warc.gz", ""),
    ],
)
def test_what_a_dump_is(file, dump):
    assert dump_of(file) == dump
