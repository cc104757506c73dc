"""How much of what a model writes stands in its training pages word for word, beside text that it never read.

Both are needed: a share of generated text alone says nothing where pages repeat one another. Passages are those of
`ropewalk.trace`: as long as they can be, and of 8 tokens and 32 characters at least.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ropewalk.corpus.reading import read_documents
from ropewalk.trace.index import Index

MOST_UNREAD = 200


def verbatim_figures(index: Index, generated: Sequence[str], corpus: Path) -> dict[str, Any]:
    """The figures of generated texts, and of the corpus' held-out documents, cut to the longest generated text's length."""
    longest_characters = max(map(len, generated), default=0)
    unread = [
        text for batch in read_documents(corpus, columns=("text",), split="held_out") for text in batch["text"].to_pylist()
    ]
    evenly = unread[:: -(-len(unread) // MOST_UNREAD)] if unread else []
    return {
        "generated": _figures(index, generated),
        "held_out": _figures(index, [text[:longest_characters] for text in evenly]),
    }


def _figures(index: Index, texts: Sequence[str]) -> dict[str, Any]:
    """Texts, characters, those of them that lie in a passage of the pages, their fraction, and the longest passage."""
    verbatim = longest = 0
    for text in texts:
        spans = index.spans(text, max_pages=0)
        verbatim += covered_characters([(span.start, span.end) for span in spans])
        longest = max(longest, *(span.end - span.start for span in spans), 0)
    characters = sum(map(len, texts))
    return {
        "texts": len(texts),
        "characters": characters,
        "verbatim_characters": verbatim,
        "fraction": round(verbatim / characters, 4) if characters else None,
        "longest_characters": longest,
    }


def covered_characters(spans: Sequence[tuple[int, int]]) -> int:
    """How many characters lie in one span at least. Spans come in order and may overlap; none lies in another."""
    covered = reached = 0
    for start, end in spans:
        covered += end - max(start, reached)
        reached = end
    return covered
