"""What a word is: a run of letters, digits and underscores, with apostrophes and hyphens inside it.

    re.compile(r"\\w+(?:[-'’]\\w+)*")

Punctuation is no word, so that `x = f(1)` is three words and not four. Scripts written without spaces come out as
one word per clause. Duplicates and the classifier are found over these words; the quality rules count spaCy's
(`ropewalk.corpus.spacy_words`).
"""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+(?:[-'’]\w+)*")


def split_words(text: str) -> list[str]:
    """The words of a text, in order."""
    return _WORD.findall(text)
