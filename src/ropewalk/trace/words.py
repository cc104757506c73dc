"""What a sentence must hold to support a text: the text's names, numbers and nouns, as a full-text query.

SQLite's unicode61 drops every sign between words, so "+33", ".is" and "67.4" come to it as 33, is, and 67 before 4. The
query asks for them in that form; numbers and internet domains are then looked for in the sentence itself, or "4 million"
would be found in "67.4 million", and ".is" in any sentence that says "is".
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

# More than this no sentence can hold: a sentence has at most 1,000 characters.
MOST_WORDS = 500

# Negations are not among them: a sentence without "not" does not support one with it, nor "isn" and "t", its halves to FTS5.
_STOP_WORDS = """
a an the this that these those such same
i me my mine we us our ours you your yours he him his she her hers it its they them their theirs one ones
what which who whom whose where when why how
and or but if then than so as because while although though
of in on at to from by with for into onto over under between among through during about around near within
is are was were be been being am has have had having do does did doing done
can could will would shall should may might must
there here also just very too only some any each every all both
s d m ll re ve
yes please tell say says give
approximately roughly circa called named known located situated lie lies use uses used
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

_NUMBER = r"\d+(?:[-.,:/]\d+)*(?:\s+(?:hundred|thousand|million|billion|trillion))?(?![^\W_])"
_DOMAIN = r"(?<![^\W_])(?<![._])\.[^\W_]+(?:\.[^\W_]+)*"
_INITIALS = r"[^\W\d_](?:\.[^\W\d_])+(?![^\W_])"
_WORD = r"[^\W_]+(?:[-‐‑&/][^\W_]+)*"
_TERM = re.compile(f"(?P<number>{_NUMBER})|(?P<domain>{_DOMAIN})|(?P<word>{_INITIALS}|{_WORD})", re.IGNORECASE)


@dataclass(frozen=True)
class Query:
    """match: in FTS5's language. literal: patterns that the sentence must hold as well."""

    match: str
    literal: tuple[re.Pattern[str], ...]

    def accepts(self, sentence: str) -> bool:
        """Whether a sentence that `match` found holds the numbers and domains as they were written."""
        sentence = unicodedata.normalize("NFC", sentence)
        return all(pattern.search(sentence) for pattern in self.literal)


def query(text: str) -> Query | None:
    """What a sentence that supports `text` must hold; None if `text` has no content word, or more than 500."""
    terms: dict[str, re.Match[str]] = {}
    for found in _TERM.finditer(unicodedata.normalize("NFC", text)):
        if found.lastgroup != "word" or found[0].lower() not in STOP_WORDS:
            terms.setdefault(found[0].lower(), found)
    if not 0 < len(terms) <= MOST_WORDS:
        return None
    # A term is letters, digits and a few signs, never a quotation mark: in quotes it can be no operator.
    match = " AND ".join(f'"{term[0]}"' for term in terms.values())
    return Query(match, tuple(_literal(term) for term in terms.values() if term.lastgroup != "word"))


def names(text: str) -> list[str]:
    """The capitalised words of a text that begin no sentence of it: whom or what it is about."""
    text = unicodedata.normalize("NFC", text)
    found = []
    for term in _TERM.finditer(text):
        before = text[: term.start()].rstrip()[-1:]
        if term[0][0].isupper() and before not in ("", ".", "!", "?", ":") and term[0].lower() not in STOP_WORDS:
            found.append(term[0])
    return found


def _literal(term: re.Match[str]) -> re.Pattern[str]:
    spelled = r"\s+".join(map(re.escape, term[0].split()))
    if term.lastgroup == "domain":
        return re.compile(rf"(?<![^\W_]){spelled}(?![^\W_])", re.IGNORECASE)
    return re.compile(rf"(?<![^\W_])(?<!\d[-.,:/]){spelled}(?![^\W_])(?![-.,:/]\d)", re.IGNORECASE)
