from dataclasses import replace
from pathlib import Path

import pytest

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.measure import first_failure
from ropewalk.corpus.quality import measures
from ropewalk.corpus.spacy_words import splitter

OPTIONS = CorpusOptions(pages=Path("unused"))


def asked(text: str, options: CorpusOptions = OPTIONS):
    return measures(text, splitter("en").words(text), options)


@pytest.mark.parametrize(
    ("text", "rule", "value"),
    [
        ("One, two and three.", "gopher_min_words", 4),
        ("ab cdef !", "gopher_min_mean_word_characters", 3.0),
        ("# a # b", "gopher_hash_signs", 0.5),
        ("so... and… then", "gopher_ellipses", 2 / 5),
        ("abc 12 x1 ,", "gopher_alphabetic_words", 2 / 3),
        ("The cat sat with the hat", "gopher_stop_words", 2),
        ("The cat sat with a hat", "gopher_stop_words", 1),
        ("• a\n  - b\n\nc\n* d", "gopher_bullet_lines", 2 / 5),
        ("a... \nb…\n\nc", "gopher_ellipsis_lines", 2 / 4),
    ],
)
def test_known_measures(text, rule, value):
    assert {measure.rule: measure.value for measure in asked(text)}[rule] == pytest.approx(value)


def test_prose_passes_and_each_fault_is_named(prose):
    text = prose(1)
    assert first_failure(asked(text)) is None
    broken = {
        "gopher_min_words": "Only a few words of the text.",
        "gopher_max_words": text * 200,
        "gopher_min_mean_word_characters": "a of " * 60,
        "gopher_max_mean_word_characters": "extraordinarily " * 60,
        "gopher_hash_signs": text + " #" * 300,
        "gopher_ellipses": text + " ..." * 300,
        "gopher_alphabetic_words": text + " 12345" * 800,
        "gopher_stop_words": " ".join(f"{letter}{other}word" for letter in "abcdefgh" for other in "abcdefgh"),
        "gopher_bullet_lines": "\n".join(f"- {line}" for line in text.replace("\n\n", " ").split(". ")),
        "gopher_ellipsis_lines": text.replace(". ", "...\n"),
    }
    assert {rule: getattr(first_failure(asked(page)), "rule", None) for rule, page in broken.items()} == {
        rule: rule for rule in broken
    }


def test_thresholds_are_inclusive():
    least = {words: next(asked("the sea and the land", replace(OPTIONS, min_words=words))) for words in (5, 6)}
    assert (least[5].passes, least[6].passes) == (True, False)


def test_fineweb_counts_punctuation_among_the_words_of_which_some_have_letters():
    found = {measure.rule: measure.value for measure in asked("abc 12 x1 ,", replace(OPTIONS, rules="fineweb"))}
    assert found["gopher_alphabetic_words"] == 0.5


def test_no_stop_words_no_rule():
    rules = {measure.rule for measure in asked("le chat noir", replace(OPTIONS, stop_words=()))}
    assert "gopher_alphabetic_words" in rules and "gopher_stop_words" not in rules
