"""C4's rules (Raffel et al. 2020, section 2.2) with FineWeb's settings: lines are taken out, then the page is judged.

The text is rewritten. A line stays if it has `c4_min_line_words` words, separated by spaces, none of them too long, and
mentions neither JavaScript nor the terms of a web site; spaces at its ends go, and citations like [1]. Blank lines have no
words: paragraphs stand on consecutive lines afterwards, as in FineWeb. FineWeb does not ask for punctuation at the end of
a line and has no list of bad words.

A sentence ends with one or more of . ? ! … (or their likes in other scripts) and the quotes or brackets that close there,
before a space that no lower-case letter follows, or at the end of the line. What follows the last end is a sentence too,
and so is a heading.

Where we differ from datatrove 0.10 (`C4QualityFilter`): its sentences are spaCy's, which knows abbreviations ("Dr. No
came." is two sentences here and one there) and ends one before lower case too; a space that a citation leaves at the end
of a line goes, so that the line still ends with its punctuation; a line of citations alone goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.quality import Measure

POLICY_PHRASES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
# The look behind starts a run of marks once: a line of ten thousand dots would take quadratic time.
_SENTENCE_END = re.compile(r"""(?<![MARKS])[MARKS]++["'”’»)\]]*+(?=\s+(\S)|$)""".replace("MARKS", ".?!…。？！।؟۔"))


@dataclass(frozen=True)
class Rewritten:
    """A page as C4 leaves it.

    lorem_ipsum, curly_brackets: how often they occur in the lines that were looked at, those that then went included.
    """

    text: str
    lorem_ipsum: int
    curly_brackets: int


def rewrite(text: str, options: CorpusOptions) -> Rewritten:
    """Take out lines and citations."""
    kept = []
    lorem_ipsum = curly_brackets = 0
    for line in text.split("\n"):
        words = line.split()
        if len(words) < options.c4_min_line_words or any(len(word) > options.c4_max_word_characters for word in words):
            continue
        line = _CITATION.sub("", line).strip()
        lower = line.lower()
        lorem_ipsum += lower.count("lorem ipsum")
        if "javascript" in lower:
            continue
        curly_brackets += line.count("{")
        if line and not any(phrase in lower for phrase in POLICY_PHRASES):
            kept.append(line)
    return Rewritten("\n".join(kept), lorem_ipsum, curly_brackets)


def measures(page: Rewritten, options: CorpusOptions) -> Iterator[Measure]:
    """What C4 asks of a rewritten page."""
    yield Measure("c4_max_lorem_ipsum", page.lorem_ipsum, options.c4_max_lorem_ipsum, "most")
    yield Measure("c4_max_curly_brackets", page.curly_brackets, options.c4_max_curly_brackets, "most")
    sentences = sum(count_sentences(line) for line in page.text.split("\n"))
    yield Measure("c4_min_sentences", sentences, max(1, options.c4_min_sentences), "least")


def count_sentences(line: str) -> int:
    """How many sentences a line holds, by the rule above; none if it is empty."""
    line = line.strip()
    ends = [found.end() for found in _SENTENCE_END.finditer(line) if not (found[1] and found[1].islower())]
    return len(ends) + (bool(line) and (not ends or ends[-1] < len(line)))
