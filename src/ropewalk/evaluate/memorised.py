"""How much of what a model writes by itself stands on its training pages, word for word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ropewalk.trace.index import Index

LEAST_CHARACTERS, LEAST_TOKENS = 50, 12  # some ten words: shorter runs are common phrases


def memorised(samples: Sequence[dict[str, Any]], index: Index) -> dict[str, Any]:
    """For each sample of an evaluation the share of its characters in long copied passages, and the longest passage of all.

    A passage is a run of at least LEAST_CHARACTERS that occurs on a training page; passages that overlap count once. Short
    samples from a small model say little of what it could be made to repeat by whoever knows the page's beginning.
    """
    rows = [{"seed": sample["seed"], "prompt": sample["prompt"], **_copied(sample["text"], index)} for sample in samples]
    characters = sum(row["characters"] for row in rows)
    return {
        "least_characters": LEAST_CHARACTERS,
        "samples": rows,
        "copied_fraction": round(sum(row["copied_characters"] for row in rows) / characters, 4) if characters else None,
        "longest": max((row["longest"] for row in rows), key=len, default=""),
    }


def _copied(text: str, index: Index) -> dict[str, Any]:
    spans = index.spans(text, min_characters=LEAST_CHARACTERS, min_tokens=LEAST_TOKENS, max_pages=1)
    places = {place for span in spans for place in range(span.start, span.end)}
    longest = max(spans, key=lambda span: span.end - span.start, default=None)
    return {
        "characters": len(text),
        "copied_characters": len(places),
        "longest": text[longest.start : longest.end] if longest else "",
        "longest_url": longest.pages[0].url if longest and longest.pages else None,
    }
