from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.quality import first_failure, measures, ngram_fractions, repeated_fractions
from ropewalk.corpus.words import number_words, split_words

OPTIONS = CorpusOptions(pages=Path("unused"))


def measured(text: str, rule: str, language: str = "en") -> float:
    return {measure.rule: measure.value for measure in measures(text, language, OPTIONS)}[rule]


def test_words_keep_inner_marks_and_drop_punctuation():
    assert split_words("Don't re-use `x = f(1)`, naïve!") == ["Don't", "re-use", "x", "f", "1", "naïve"]


@pytest.mark.parametrize(
    ("text", "rule", "value"),
    [
        ("one two three", "gopher_min_words", 3),
        ("ab cdef", "gopher_min_mean_word_characters", 3.0),
        ("# a # b", "gopher_hash_signs", 1.0),
        ("so... and… then", "gopher_ellipses", 2 / 3),
        ("abc 12 x1 7", "gopher_alphabetic_words", 0.5),
        ("The cat sat with the hat", "gopher_stop_words", 2),
        ("• a\n- b\n\nc\n* d", "gopher_bullet_lines", 0.75),
        ("a...\nb…\nc", "gopher_ellipsis_lines", 2 / 3),
        ("a\n\nb\n\na", "gopher_duplicate_paragraphs", 1 / 3),
        ("aa\nb\naa\naa", "gopher_duplicate_lines", 0.5),
        ("aa\nb\naa\naa", "gopher_duplicate_line_characters", 4 / 7),
        ("ab cd ab cd ef", "gopher_top_2_gram", 0.8),
    ],
)
def test_known_measures(text, rule, value):
    assert measured(text, rule) == pytest.approx(value)


def test_stop_words_are_asked_of_english_only():
    text = "le chat noir"
    assert "gopher_stop_words" not in {measure.rule for measure in measures(text, "fr", OPTIONS)}
    assert measured(text, "gopher_stop_words") == 0


def test_repeated_pieces():
    assert repeated_fractions(["x", "yy", "x", "x"]) == (0.5, 2 / 5)
    assert repeated_fractions([]) == (0.0, 0.0)


def test_repeated_runs_agree_with_a_plain_count():
    """The numbered-pairs form against the definition, on random words from a small vocabulary."""
    random = np.random.default_rng(3)
    for _ in range(60):
        words = ["w" * int(length) for length in random.integers(1, 4, size=random.integers(1, 60))]
        fractions = ngram_fractions(number_words(words), np.array([len(word) for word in words]))
        total = sum(map(len, words))
        for size in range(2, 11):
            runs = [tuple(words[start : start + size]) for start in range(len(words) - size + 1)]
            if size <= 4:
                most = max((runs.count(run) for run in runs), default=0)
                best = max((len("".join(run)) for run in runs if runs.count(run) == most), default=0)
                expected = best * most / total if most > 1 else 0.0
            else:
                covered = {at + inside for at, run in enumerate(runs) if run in runs[:at] for inside in range(size)}
                expected = sum(len(words[at]) for at in covered) / total
            assert fractions[size] == pytest.approx(expected)


def test_prose_passes_and_each_fault_is_named(prose):
    text = prose(1)
    assert first_failure(measures(text, "en", OPTIONS)) is None
    broken = {
        "gopher_min_words": "Only a few words of the text.",
        "gopher_max_words": text * 200,
        "gopher_hash_signs": text + " #" * 300,
        "gopher_alphabetic_words": text + " 12" * 800,
        "gopher_stop_words": " ".join(f"{letter}{other}word" for letter in "abcdefgh" for other in "abcdefgh"),
        "gopher_bullet_lines": "\n".join(
            f"- {line} {number}" for number, line in enumerate(text.replace("\n\n", " ").split(". "))
        ),
        "gopher_duplicate_paragraphs": "\n\n".join([text, *["An echo of the sea."] * 10]),
    }
    assert {rule: getattr(first_failure(measures(page, "en", OPTIONS)), "rule", None) for rule, page in broken.items()} == {
        rule: rule for rule in broken
    }


def test_thresholds_are_inclusive():
    text = "the sea and the land"
    least = {words: next(measures(text, "en", replace(OPTIONS, min_words=words))) for words in (5, 6)}
    assert (least[5].passes, least[6].passes) == (True, False)
