"""A training page in HTML: its text as the model read it, with a passage marked."""

from __future__ import annotations

from ropewalk.serve.templates import template
from ropewalk.trace.index import Page


def shown_page(page: Page, *, start: int, end: int) -> str:
    """The page, characters `start` to `end` of its text marked if there are such."""
    start, end = max(start, 0), min(end, len(page.text))
    if start >= end:
        start = end = len(page.text)
    return template("training_page").render(
        title=page.title or page.url,
        page=page,
        # An address is only made a link if a browser would fetch it: 'javascript:' would be run.
        links=page.url.startswith(("http://", "https://")),
        before=page.text[:start],
        marked=page.text[start:end],
        after=page.text[end:],
    )


def missing_page() -> str:
    """What stands where there is no such page."""
    return template("training_page").render(title="No such page", page=None)
