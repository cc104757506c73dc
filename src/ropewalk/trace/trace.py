"""`ropewalk trace`: a text's passages and evidence, in the terminal."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt
from tyro.conf import Positional

from ropewalk.runtime.terminal import one_line
from ropewalk.trace.sentences import sentences
from ropewalk.trace.words import query

if TYPE_CHECKING:
    from ropewalk.trace.index import Index


@dataclass(frozen=True)
class TraceOptions:
    """Print where a text, or parts of it, stand in the training pages."""

    text: Positional[str]
    """The text to follow back; - reads it from standard input."""
    index: Path
    """The index to look in."""
    min_tokens: Annotated[int, Ge(1)] = 8
    """Fewest tokens of a passage to show."""
    min_characters: Annotated[int, Ge(1)] = 32
    """Fewest characters of a passage to show."""
    max_pages: Annotated[int, Gt(0)] = 5
    """Most pages to name for a passage."""
    evidence: Annotated[int, Ge(0)] = 3
    """Most sentences of pages to show for each sentence of the text: those that hold all its names, numbers and nouns."""


def run_trace(options: TraceOptions) -> None:
    """Print each passage with its pages, then each sentence with the sentences of pages that support it.

    Raises:
        ArtifactError: no index there.
    """
    from ropewalk.trace.index import Index  # numpy and tiktoken: --help must not wait for them

    text = sys.stdin.read() if options.text == "-" else options.text
    with Index.open(options.index) as index:
        _print_spans(index, text, options)
        if options.evidence:
            _print_evidence(index, text, options.evidence)


def _print_spans(index: Index, text: str, options: TraceOptions) -> None:
    from ropewalk.trace.index import ranked

    spans = ranked(
        index.spans(text, min_tokens=options.min_tokens, min_characters=options.min_characters, max_pages=options.max_pages)
    )
    if not spans:
        print(f"No passage of {options.min_characters} characters and {options.min_tokens} tokens occurs in the pages.")
    for span in spans:
        times = "once" if span.occurrences == 1 else f"{span.occurrences:,} times"
        print(f"Characters {span.start} to {span.end}, {span.tokens} tokens, {times} in the pages:")
        print(f"    {one_line(text[span.start : span.end])}")
        for page in span.pages:
            print(f"  {one_line(page.url)}  {page.start} to {page.end}  {one_line(page.title)}".rstrip())


def _print_evidence(index: Index, text: str, limit: int) -> None:
    for start, end in sentences(text):
        if query(text[start:end]) is None:
            continue
        print(f"\nEvidence for: {one_line(text[start:end])}")
        found = index.evidence(text[start:end], limit=limit)
        if not found:
            print("    No sentence of the pages holds all its names, numbers and nouns.")
        for evidence in found:
            print(f"    {one_line(evidence.sentence)}")
            print(f"  {one_line(evidence.url)}  {evidence.start} to {evidence.end}  {one_line(evidence.title)}".rstrip())
