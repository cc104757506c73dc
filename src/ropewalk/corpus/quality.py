"""Gopher's quality rules (Rae et al. 2021, "Scaling Language Models", section A1.1) with FineWeb's way of counting.

Every rule measures a number and compares it with a threshold; the first that fails drops the document. Decisions are
those of datatrove 0.10 (`GopherQualityFilter`), with three differences: stop words are asked where the language has a
list, no threshold turns its rule off, and with rules "gopher" punctuation alone is no word when those with a letter are
counted. FineWeb takes it for one, which Gopher cannot have meant: of the 37 pages in tests/test_line.py that come so
far, all from Python's language reference, 36 have too few then.
"""

from __future__ import annotations

from collections.abc import Iterator

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.measure import Measure
from ropewalk.corpus.spacy_words import Words

BULLETS = ("•", "-")
ELLIPSES = ("...", "…")


def measures(text: str, words: Words, options: CorpusOptions) -> Iterator[Measure]:
    """What Gopher asks of a text, in FineWeb's order. Lazy: what stands after a failure need not be computed."""
    table, numbers = words.table, words.numbers
    proper = numbers[~table.is_symbol[numbers]]
    count = len(proper)
    yield Measure("gopher_min_words", count, max(1, options.min_words), "least")
    yield Measure("gopher_max_words", count, options.max_words, "most")
    mean_characters = int(table.characters[proper].sum()) / count
    yield Measure("gopher_min_mean_word_characters", mean_characters, options.min_mean_word_characters, "least")
    yield Measure("gopher_max_mean_word_characters", mean_characters, options.max_mean_word_characters, "most")
    yield Measure("gopher_hash_signs", text.count("#") / len(words), options.max_symbol_fraction, "most")
    ellipses = sum(text.count(mark) for mark in ELLIPSES)
    yield Measure("gopher_ellipses", ellipses / len(words), options.max_symbol_fraction, "most")
    lines = text.splitlines()
    bullets = sum(line.lstrip().startswith(BULLETS) for line in lines)
    yield Measure("gopher_bullet_lines", bullets / len(lines), options.max_bullet_line_fraction, "most")
    trailing = sum(line.rstrip().endswith(ELLIPSES) for line in lines)
    yield Measure("gopher_ellipsis_lines", trailing / len(lines), options.max_ellipsis_line_fraction, "most")
    counted = proper if options.rules == "gopher" else numbers
    alphabetic = int(table.has_letter[counted].sum()) / len(counted)
    yield Measure("gopher_alphabetic_words", alphabetic, options.min_alphabetic_word_fraction, "least")
    if options.stop_words:
        yield Measure("gopher_stop_words", words.occurring(options.stop_words), options.min_stop_words, "least")
