"""FineWeb's own rules (Penedo et al. 2024, section 3.6), asked of a text that C4's rules have rewritten.

Their thresholds were set on lines as trafilatura gives them: a paragraph, a heading, a list item. With resiliparse it
is nearly the same: a paragraph is one line however its source is wrapped. But what a <br> parts, a table row, a line of
<pre> and a definition's term are lines too, and what resiliparse leaves of bylines and share buttons is mostly short.
In plain text and Markdown a line is what its author typed: text wrapped at 72 columns ends few of its lines with
punctuation, and may go for `fineweb_min_punctuated_lines` although a page of the same text would not.

A short page is judged on few lines, so one line weighs much: docs/corpus.md tells what ten such pages met.

Where we differ from datatrove 0.10 (`FineWebQualityFilter`): words are those of `ropewalk.corpus.words`, without
punctuation, so that prose has about a seventh more line ends per word; of the punctuation in other scripts only a few marks
count, and straight quotes do, as in its first versions.
"""

from __future__ import annotations

from collections.abc import Iterator

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.quality import Measure, repeated_fractions
from ropewalk.corpus.words import split_words

PUNCTUATION = tuple(".?!'\"。？！।؟۔")


def measures(text: str, options: CorpusOptions) -> Iterator[Measure]:
    """What FineWeb asks of a text that has at least one line."""
    lines = [line for line in text.split("\n") if line.strip()]
    punctuated = sum(line.endswith(PUNCTUATION) for line in lines) / len(lines)
    yield Measure("fineweb_min_punctuated_lines", punctuated, options.fineweb_min_punctuated_lines, "least")
    short = sum(len(line) <= options.fineweb_short_line_characters for line in lines) / len(lines)
    yield Measure("fineweb_max_short_lines", short, options.fineweb_max_short_lines, "most")
    _, repeated = repeated_fractions(lines)
    yield Measure("fineweb_max_duplicate_characters", repeated, options.fineweb_max_duplicate_characters, "most")
    line_ends = (len(lines) - 1) / max(1, len(split_words(text)))
    yield Measure("fineweb_max_line_ends_per_word", line_ends, options.fineweb_max_line_ends_per_word, "most")
