"""Gopher's quality and repetition rules (Rae et al. 2021, "Scaling Language Models", section A1.1, table A1).

Every rule measures a number and compares it with a threshold; the first that fails drops the document. Where we differ:
words are those of `ropewalk.corpus.words`, fractions of characters count the characters of words only, and of repeated
lines, paragraphs and runs of words the first occurrence is not counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.words import number_words, split_words

STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
BULLETS = ("•", "‣", "▪", "●", "○", "◦", "*", "-", "–")
ELLIPSES = ("...", "…")
_PARAGRAPH_BREAK = re.compile(r"\n{2,}")
_LINE_BREAK = re.compile(r"\n+")


@dataclass(frozen=True)
class Measure:
    """A rule applied to a text: what was measured, and what it may be at `least` or at `most`."""

    rule: str
    value: float
    threshold: float
    bound: Literal["least", "most"]

    @property
    def passes(self) -> bool:
        return self.value >= self.threshold if self.bound == "least" else self.value <= self.threshold


def first_failure(measures: Iterable[Measure]) -> Measure | None:
    """The first rule that is broken, or None."""
    return next((measure for measure in measures if not measure.passes), None)


def measures(text: str, language: str, options: CorpusOptions) -> Iterator[Measure]:
    """The measure of each of Gopher's rules, cheap ones first. Lazy: what stands after a failure need not be computed."""
    words = split_words(text)
    if not words:
        yield Measure("gopher_min_words", 0, max(1, options.min_words), "least")
        return
    yield from _word_measures(text, words, options)
    if language == "en":
        found = len(STOP_WORDS.intersection(word.lower() for word in words))
        yield Measure("gopher_stop_words", found, options.min_stop_words, "least")
    yield from _line_measures(text, options)
    yield from _repetition_measures(text, options)
    yield from _ngram_measures(words, options)


def _word_measures(text: str, words: list[str], options: CorpusOptions) -> Iterator[Measure]:
    count = len(words)
    yield Measure("gopher_min_words", count, options.min_words, "least")
    yield Measure("gopher_max_words", count, options.max_words, "most")
    mean_characters = sum(map(len, words)) / count
    yield Measure("gopher_min_mean_word_characters", mean_characters, options.min_mean_word_characters, "least")
    yield Measure("gopher_max_mean_word_characters", mean_characters, options.max_mean_word_characters, "most")
    yield Measure("gopher_hash_signs", text.count("#") / count, options.max_symbol_fraction, "most")
    ellipses = sum(text.count(mark) for mark in ELLIPSES)
    yield Measure("gopher_ellipses", ellipses / count, options.max_symbol_fraction, "most")
    alphabetic = sum(word.isalpha() or any(map(str.isalpha, word)) for word in words)
    yield Measure("gopher_alphabetic_words", alphabetic / count, options.min_alphabetic_word_fraction, "least")


def _line_measures(text: str, options: CorpusOptions) -> Iterator[Measure]:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    bullets = sum(line.startswith(BULLETS) for line in lines)
    yield Measure("gopher_bullet_lines", bullets / len(lines), options.max_bullet_line_fraction, "most")
    trailing = sum(line.endswith(ELLIPSES) for line in lines)
    yield Measure("gopher_ellipsis_lines", trailing / len(lines), options.max_ellipsis_line_fraction, "most")


def _repetition_measures(text: str, options: CorpusOptions) -> Iterator[Measure]:
    pieces, characters = repeated_fractions(_pieces(_PARAGRAPH_BREAK, text))
    yield Measure("gopher_duplicate_paragraphs", pieces, options.max_duplicate_paragraph_fraction, "most")
    limit = options.max_duplicate_paragraph_character_fraction
    yield Measure("gopher_duplicate_paragraph_characters", characters, limit, "most")
    pieces, characters = repeated_fractions(_pieces(_LINE_BREAK, text))
    yield Measure("gopher_duplicate_lines", pieces, options.max_duplicate_line_fraction, "most")
    yield Measure("gopher_duplicate_line_characters", characters, options.max_duplicate_line_character_fraction, "most")


def _pieces(separator: re.Pattern[str], text: str) -> list[str]:
    return [piece.strip() for piece in separator.split(text) if piece.strip()]


def repeated_fractions(pieces: list[str]) -> tuple[float, float]:
    """Which fraction of the pieces, and of their characters, repeats an earlier piece."""
    first_of_each = set(pieces)
    characters = sum(map(len, pieces))
    return (
        (len(pieces) - len(first_of_each)) / max(1, len(pieces)),
        (characters - sum(map(len, first_of_each))) / max(1, characters),
    )


def _ngram_measures(words: list[str], options: CorpusOptions) -> Iterator[Measure]:
    lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
    fractions = ngram_fractions(number_words(words), lengths)
    for size, limit in zip(range(2, 5), options.max_top_ngram_fractions, strict=True):
        yield Measure(f"gopher_top_{size}_gram", fractions[size], limit, "most")
    for size, limit in zip(range(5, 11), options.max_duplicate_ngram_fractions, strict=True):
        yield Measure(f"gopher_duplicate_{size}_grams", fractions[size], limit, "most")


def ngram_fractions(numbers: np.ndarray, lengths: np.ndarray) -> dict[int, float]:
    """Measure repetition in runs of 2 to 10 words.

    Args:
        numbers: the words, equal number for equal word. lengths: their characters.

    Returns:
        For 2 to 4 words: the fraction of all characters in the most frequent run, if it occurs twice or more (overlaps
        counted twice; of equally frequent ones the longest). For 5 to 10 words: the fraction of characters of words that
        stand in a second or later occurrence of some run, no word counted twice.
    """
    fractions = dict.fromkeys(range(2, 11), 0.0)
    characters = max(1, int(lengths.sum()))
    starts = np.concatenate(([0], np.cumsum(lengths)))
    runs, kinds = numbers, int(numbers.max(initial=0)) + 1
    for size in range(2, min(10, len(numbers)) + 1):
        # A run of n words is a run of n - 1 words and one more: numbering pairs keeps this exact, without hashing.
        pairs = runs[:-1] * kinds + numbers[size - 1 :]
        _, first, runs, counts = np.unique(pairs, return_index=True, return_inverse=True, return_counts=True)
        if len(first) == len(pairs):
            break  # nothing repeats, so nothing longer does
        if size <= 4:
            run_characters = starts[first + size] - starts[first]
            often = counts == counts.max()
            fractions[size] = float(run_characters[often].max() * counts.max() / characters)
        else:
            repeats = np.ones(len(pairs), dtype=np.int64)
            repeats[first] = 0
            edges = np.zeros(len(numbers) + 1, dtype=np.int64)
            edges[: len(pairs)] += repeats
            edges[size : size + len(pairs)] -= repeats
            covered = np.cumsum(edges)[:-1] > 0
            fractions[size] = float(lengths[covered].sum() / characters)
    return fractions
