"""The quality rules in the order in which FineWeb asks them: Gopher's, C4's, FineWeb's own."""

from __future__ import annotations

from ropewalk.corpus import CorpusOptions, c4, fineweb, quality
from ropewalk.corpus.quality import Measure, first_failure


def apply_rules(text: str, language: str, options: CorpusOptions) -> tuple[str, Measure | None]:
    """The text as `options.rules` leave it, and the first rule that it breaks, or None."""
    if options.rules == "none":
        return text, None
    failure = first_failure(quality.measures(text, language, options))
    if failure is not None or options.rules == "gopher":
        return text, failure
    page = c4.rewrite(text, options)
    failure = first_failure(c4.measures(page, options))
    if failure is not None:
        return text, failure
    return page.text, first_failure(fineweb.measures(page.text, options))
