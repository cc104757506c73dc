"""The extractor "precise": trafilatura (Barbaresi 2021), asked for precision, without comments.

FineWeb extracts with it too, an older version and with `deduplicate`, which drops what other pages of the same worker
had: the same page then gives another text in another place. It is not asked for here. On 181 articles with known text
(scrapinghub's benchmark) F1 is .964 where resiliparse has .932 (bench/extraction.py).

trafilatura compares what it finds with what two other extractors find, and mostly keeps its own. It is spared that
where its own text is long by itself and beside resiliparse's: 9 of those 181 pages are extracted twice, all texts stay the
same, and a third of the time is saved. Of 100 manuals' pages it was 34, one text changed, and little was saved.

trafilatura is imported here alone. It comes with the extra ropewalk[precise].
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from ropewalk.runtime.errors import MachineError

LEAST_CHARACTERS = 300  # trafilatura itself doubts fewer than 250
LEAST_FRACTION = 0.5  # it takes another extractor's text if that is twice as long
# None of these reached trafilatura's text in 281 pages, but its rules ask each of them: a tenth of its time on articles.
_DROPPED = ("script", "style", "svg", "iframe", "noscript", "link", "template", "head", "nav", "footer", "select", "button")


def precise_content(html: str, fast_content: Callable[[], str]) -> str:
    """A page's main content; "" if there is none. `fast_content` is what "fast" makes of the page.

    Raises:
        MachineError: trafilatura is not installed.
    """
    trafilatura = load_trafilatura()
    tree = trafilatura.load_html(html)
    if tree is None:
        return ""
    _lxml().strip_elements(tree, *_DROPPED, with_tail=False)
    text = _extract(tree, fast=True)
    if len(text) >= LEAST_CHARACTERS and len(text) >= LEAST_FRACTION * len(fast_content()):
        return text
    return _extract(html, fast=False)


def _extract(page: Any, *, fast: bool) -> str:
    found = load_trafilatura().extract(page, fast=fast, favor_precision=True, include_comments=False, deduplicate=False)
    return found or ""


@cache
def _lxml() -> Any:
    return importlib.import_module("lxml.etree")


@cache
def load_trafilatura() -> Any:
    """Import trafilatura, which takes 0.4 s, and keep it from logging about pages it cannot read."""
    try:
        trafilatura = importlib.import_module("trafilatura")
    except ImportError as error:
        raise MachineError(f"extractor precise needs trafilatura ({error}): pip install 'ropewalk[precise]'") from None
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    return trafilatura
