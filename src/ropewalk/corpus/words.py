"""What a word is: a run of letters, digits and underscores, with apostrophes and hyphens inside it.

    re.compile(r"\\w+(?:[-'’]\\w+)*")

Punctuation is no word, so that `x = f(1)` is three words and not four. Scripts written without spaces come out as
one word per clause: the rules that count words fit languages with spaces.
"""

from __future__ import annotations

import re

import numpy as np

_WORD = re.compile(r"\w+(?:[-'’]\w+)*")


def split_words(text: str) -> list[str]:
    """The words of a text, in order."""
    return _WORD.findall(text)


def number_words(words: list[str]) -> np.ndarray:
    """Each word as a number, equal for equal words: 0, 1, ... in order of first occurrence."""
    numbers: dict[str, int] = {}
    return np.fromiter((numbers.setdefault(word, len(numbers)) for word in words), dtype=np.int64, count=len(words))
