"""Sentences by plain rules, and nothing lost between them."""

from __future__ import annotations

import pytest

from ropewalk.trace.sentences import LONGEST_CHARACTERS, sentences


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    "expected",
    [
        ["Paris is the capital of France.", "Lyon is not!", '"Is it?"', "No."],
        ["It has 67.4 million people.", "Its domain is .fr.", "Its code is +33."],
        ["Castries is the capital of St. Lucia.", "Mr. J. R. Smith lives in the U.S. Virgin Islands, e.g. on St. John."],
        ["There are 5.", "Then 6."],
        ["Call f(x. y) here... and there.", "Then stop."],
        ["巴黎是法国的首都。", "里昂不是！", "Привет, мир!", "Сегодня хорошая погода."],
    ],
)
def test_sentences_of_a_line(expected):
    assert cut(" ".join(expected)) == expected


def test_lines_end_sentences_unless_broken_for_their_length():
    assert cut("France\n\nA country in Europe\nCapital\tParis\nCurrency\tEuro") == [
        "France", "A country in Europe", "Capital\tParis", "Currency\tEuro",
    ]  # fmt: skip
    broken = (
        "When the statement is executed, the value that it names is bound to\nPython's own name, and then\nit goes on. So\n"
    )
    assert cut(broken) == [broken[: broken.index(" So")], "So"]


def test_long_sentences_are_cut_at_a_space_and_nothing_is_lost(training):
    texts = [row["text"] for row in training]
    for text in [*texts, "x" * 3_500, "word " * 900, "", " \n ", "...\n---\n"]:
        end = 0
        for start, stop in sentences(text):
            assert end <= start < stop <= len(text)
            assert stop - start <= LONGEST_CHARACTERS
            assert not any(character.isalnum() for character in text[end:start])
            end = stop
        assert not any(character.isalnum() for character in text[end:])
    assert [len(piece) for piece in cut("x" * 3_500)] == [1_000, 1_000, 1_000, 500]
    assert all(set(piece.split()) == {"word"} for piece in cut("word " * 900))
