"""C4's rules (Raffel et al. 2020, section 2.2) as FineWeb has them: lines are taken out, then the page is judged.

The text is rewritten. A line stays if it has `c4_min_line_words` words, separated by spaces, none of them too long, and
mentions neither JavaScript nor the terms of a web site; spaces at its ends go, and citations like [1]. Blank lines have no
words: paragraphs stand on consecutive lines afterwards. C4 itself also takes out lines that do not end in punctuation, which
FineWeb does not (`c4_terminal_punctuation`); its list of bad words is in neither.

Decisions and texts are those of datatrove 0.10 (`C4QualityFilter`), oddities included: a line of citations alone stays as an
empty one and counts as a sentence; a space before a citation at the end of a line stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.measure import Measure
from ropewalk.corpus.spacy_words import Splitter

POLICY_PHRASES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
LINE_ENDS = (".", "?", "!", '"', "'")
_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")


@dataclass(frozen=True)
class Rewritten:
    """A page as C4 leaves it. fault: what dropped it while its lines were read, if anything did."""

    text: str
    lines: tuple[str, ...]
    fault: Measure | None = None


def rewrite(text: str, options: CorpusOptions) -> Rewritten:
    """Take out lines and citations, up to the first line that drops the page."""
    terminal = options.rules == "c4" if options.c4_terminal_punctuation is None else options.c4_terminal_punctuation
    kept = []
    lorem_ipsum = curly_brackets = 0
    for line in text.splitlines():
        words = line.split()
        if len(words) < options.c4_min_line_words or max(map(len, words), default=0) > options.c4_max_word_characters:
            continue
        line = _CITATION.sub("", line.strip())
        if terminal and (not line.endswith(LINE_ENDS) or line.endswith("...")):
            continue
        lower = line.lower()
        lorem_ipsum += lower.count("lorem ipsum")
        if lorem_ipsum > options.c4_max_lorem_ipsum:
            fault = Measure("c4_max_lorem_ipsum", lorem_ipsum, options.c4_max_lorem_ipsum, "most")
            return Rewritten(text, (), fault)
        if "javascript" in lower:
            continue
        curly_brackets += line.count("{")
        if curly_brackets > options.c4_max_curly_brackets:
            fault = Measure("c4_max_curly_brackets", curly_brackets, options.c4_max_curly_brackets, "most")
            return Rewritten(text, (), fault)
        if not any(phrase in lower for phrase in POLICY_PHRASES):
            kept.append(line)
    return Rewritten("\n".join(kept).strip(), tuple(kept))


def measures(page: Rewritten, splitter: Splitter, options: CorpusOptions) -> Iterator[Measure]:
    """What C4 asks of a rewritten page: no fault, and sentences, counted as far as needed."""
    if page.fault is not None:
        yield page.fault
        return
    sentences = 0
    for line in page.lines:
        if sentences >= options.c4_min_sentences:
            break
        sentences += splitter.count_sentences(line, enough=options.c4_min_sentences - sentences)
    yield Measure("c4_min_sentences", sentences, options.c4_min_sentences, "least")
