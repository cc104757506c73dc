"""The quality rules by preset, in the order in which FineWeb asks them: Gopher's, C4's, FineWeb's own."""

from __future__ import annotations

from collections.abc import Iterator

from ropewalk.corpus import CorpusOptions, c4, fineweb, quality, repetition
from ropewalk.corpus.languages import rules_for
from ropewalk.corpus.measure import Measure, first_failure
from ropewalk.corpus.spacy_words import Splitter, splitter


def apply_rules(text: str, language: str, options: CorpusOptions) -> tuple[str, Measure | None]:
    """The text as `options.rules` leave it, and the first rule that it breaks, or None."""
    options = rules_for(options, language)
    if options.rules == "none":
        return text, None
    cutter = splitter(language)
    if options.rules != "c4":
        failure = first_failure(_gopher(text, cutter, options))
        if failure is not None or options.rules == "gopher":
            return text, failure
    page, failure = c4.Rewritten(text, ()), None
    if "c4" not in options.leave_out:
        page = c4.rewrite(text, options)
        failure = first_failure(c4.measures(page, cutter, options))
    if failure is None and (options.rules == "c4" or "fineweb" in options.leave_out):
        failure = first_failure([Measure("empty", len(page.text), 1, "least")])
    elif failure is None:
        failure = first_failure(fineweb.measures(page.text, cutter, options))
    return page.text, failure


def _gopher(text: str, cutter: Splitter, options: CorpusOptions) -> Iterator[Measure]:
    words = cutter.words(text)
    if "repetition" not in options.leave_out:
        yield from repetition.measures(text, words, options)
    if "quality" not in options.leave_out:
        yield from quality.measures(text, words, options)
