"""FineWeb's own rules (Penedo et al. 2024, section 3.6), asked of a text that C4's rules have rewritten.

Their thresholds were set on lines as trafilatura gives them: a paragraph, a heading, a list item. With resiliparse it
is nearly the same: a paragraph is one line however its source is wrapped. But what a <br> parts, a table row, a line of
<pre> and a definition's term are lines too, and what resiliparse leaves of bylines and share buttons is mostly short.
In plain text and Markdown a line is what its author typed: text wrapped at 72 columns ends few of its lines with
punctuation, and may go for `fineweb_min_punctuated_lines` although a page of the same text would not.

A short page is judged on few lines, so one line weighs much: docs/corpus.md tells what ten such pages met. Decisions are
those of datatrove 0.10 (`FineWebQualityFilter`).
"""

from __future__ import annotations

from collections.abc import Iterator

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.marks import sentence_ends
from ropewalk.corpus.measure import Measure
from ropewalk.corpus.repetition import repeats
from ropewalk.corpus.spacy_words import Splitter

# FineWeb's code says 0.01, its paper 0.1.
DUPLICATE_CHARACTERS = {"fineweb": 0.01, "fineweb-paper": 0.1}


def measures(text: str, splitter: Splitter, options: CorpusOptions) -> Iterator[Measure]:
    """What FineWeb asks of a text, in its order."""
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    if not lines:
        yield Measure("empty", 0, 1, "least")
        return
    ends = sentence_ends()
    punctuated = sum(line[-1] in ends for line in lines) / len(lines)
    yield Measure("fineweb_min_punctuated_lines", punctuated, options.fineweb_min_punctuated_lines, "least")
    short = sum(len(line) <= options.fineweb_short_line_characters for line in lines) / len(lines)
    yield Measure("fineweb_max_short_lines", short, options.fineweb_max_short_lines, "most")
    _, characters = repeats(lines)
    repeated = characters / (len(text) - text.count("\n"))
    limit = options.fineweb_max_duplicate_characters
    limit = DUPLICATE_CHARACTERS[options.rules] if limit is None else limit
    yield Measure("fineweb_max_duplicate_characters", repeated, limit, "most")
    line_ends = text.count("\n") / len(splitter.words(text))
    yield Measure("fineweb_max_line_ends_per_word", line_ends, options.fineweb_max_line_ends_per_word, "most")
