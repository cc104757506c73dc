from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.repetition import RunHashes, duplicate_run_characters, measures, repeats, top_run_characters
from ropewalk.corpus.spacy_words import Words, WordTable, splitter

OPTIONS = CorpusOptions(pages=Path("unused"))


def words_of(words: list[str]) -> Words:
    table = WordTable(frozenset())
    numbers = np.array([table.numbers[word] for word in words], np.int64)
    table.describe()
    return Words(numbers, table)


@pytest.mark.parametrize(
    ("text", "rule", "value"),
    [
        ("a\n\nb\n\na", "gopher_duplicate_paragraphs", 1 / 3),
        ("aa\n\nb\n\naa", "gopher_duplicate_paragraph_characters", 2 / 9),
        ("aa\nb\naa\naa", "gopher_duplicate_lines", 0.5),
        ("aa\nb\naa\naa", "gopher_duplicate_line_characters", 4 / 10),
        ("ab cd ab cd ef", "gopher_top_2_gram", 10 / 14),
        ("one two three", "gopher_top_2_gram", 7 / 13),
        ("a b c d e x a b c d e", "gopher_duplicate_5_grams", 5 / 21),
    ],
)
def test_known_measures(text, rule, value):
    found = {measure.rule: measure.value for measure in measures(text, splitter("en").words(text), OPTIONS)}
    assert found[rule] == pytest.approx(value)


def test_repeated_pieces():
    assert repeats(["x", "yy", "x", "x"]) == (0.5, 2)
    assert repeats(["x", "yy"]) == (0.0, 0)


def test_runs_agree_with_strings():
    """Arrays of hashes against FineWeb's definition over strings, on random words whose joins often coincide."""
    random = np.random.default_rng(3)
    for _ in range(200):
        words = ["ab"[: length + 1] * (1 + length) for length in random.integers(0, 2, size=random.integers(0, 80))]
        found = words_of(words)
        for size in range(2, 5):
            runs = [" ".join(words[at : at + size]) for at in range(len(words) - size + 1)]
            run, times = Counter(runs).most_common(1)[0] if runs else ("", 0)
            assert top_run_characters(found, size) == len(run) * times
        hashes = RunHashes(found)
        for size in range(5, 11):
            assert duplicate_run_characters(hashes, size) == plain_duplicate_characters(words, size)


def plain_duplicate_characters(words: list[str], size: int) -> int:
    seen, characters, at = set(), 0, 0
    while at + size <= len(words):
        run = "".join(words[at : at + size])
        if run in seen:
            characters += len(run)
            at += size
        else:
            seen.add(run)
            at += 1
    return characters


def test_runs_are_compared_as_strings():
    assert duplicate_run_characters(RunHashes(words_of("can not a b c d cann ot a b c".split())), 5) == 9


def test_long_texts_take_linear_space():
    words = words_of([f"w{number % 977}" for number in range(300_000)])
    assert duplicate_run_characters(RunHashes(words), 10) > 0.9 * int(words.table.characters[words.numbers].sum())
