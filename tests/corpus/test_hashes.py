"""Numbers for words and runs of words agree with splitting the text into words and looking at those."""

import pydoc
import random

import numpy as np
import pytest

from ropewalk.corpus.hashes import find_words, hash_runs, word_hashes
from ropewalk.corpus.words import split_words

ODD = [
    "", "-", "a", "-a-", "it's  -a- b--c 'q' x-y-z n'", "Don’t “say” so…", "_x_ ÉCOLE école", "price: 3,50€",
    "𝔘nicode 𠀀𠀁 😀x", "Straße STRASSE Σίγμα", "日本語の文。次の文", "a\x00b\ufeffc\u2028d",
]  # fmt: skip


@pytest.fixture(scope="module")
def texts() -> list[str]:
    modules = ["json", "argparse", "email", "unittest", "xml.dom.minidom", "decimal"]
    return ODD + [pydoc.plain(pydoc.render_doc(__import__(name, fromlist=["_"]))) for name in modules]


def test_words_are_where_the_pattern_finds_them(texts):
    for text in texts:
        found = find_words(text)
        words = [text[start:end] for start, end in zip(found.starts, found.ends, strict=True)]
        assert [word.lower() for word in words] == split_words(text.lower())


def test_equal_words_have_equal_numbers_and_no_others(texts):
    numbers = {}
    for text in texts:
        for word, number in zip(split_words(text.lower()), word_hashes(text).tolist(), strict=True):
            assert numbers.setdefault(word, number) == number
    assert len(numbers) > 1_500
    assert len(set(numbers.values())) == len(numbers)


@pytest.mark.parametrize("length", [1, 2, 5, 13, 50])
def test_runs_are_equal_where_their_words_are(texts, length):
    numbers = {}
    for text in texts:
        words = split_words(text.lower())
        runs = [tuple(words[start : start + length]) for start in range(max(1, len(words) - length + 1))]
        for run, number in zip(runs, hash_runs(word_hashes(text), length=length).tolist(), strict=True):
            assert numbers.setdefault(run, number) == number
    assert len(set(numbers.values())) == len(numbers)


def test_a_word_longer_than_the_tables():
    long = "".join(random.Random(1).choices("abc", k=100_000))
    assert word_hashes(f"{long} b {long}").tolist()[0] == word_hashes(f"x {long.upper()}").tolist()[1]
    assert len(np.unique(word_hashes(f"{long} {long}a {long[1:]}"))) == 3


def test_the_numbers_are_the_same_on_every_machine():
    """Frozen: signatures made by other versions or machines must compare."""
    assert word_hashes("The quick brown-fox, école").tolist() == [
        11469020329213407588,
        962448183826310977,
        15315947753904242782,
        14354025182427873392,
    ]
