"""The extractor "precise": trafilatura (Barbaresi 2021), asked for precision, without comments.

FineWeb extracts with it too, an older version and with `deduplicate`, which drops what other pages of the same worker
had: the same page then gives another text in another place. It is not asked for here. On 181 articles with known text
(scrapinghub's benchmark) F1 is .969 where resiliparse has .932 (bench/extraction.py).

Three things are done around it for speed, and its texts are none the worse (LOG.md, 2026-11-27):
- trafilatura compares what it finds with what two other extractors find, and takes theirs if it has twice as much. Here the
  other one is resiliparse, whose text is at hand in a tenth of the time.
- elements are dropped beforehand that none of its own results contained.
- spans that only colour code are unwrapped: its rules look at every one of them, and its code blocks lose their line ends
  over them.

trafilatura is imported here alone. It comes with the extra ropewalk[precise].
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from ropewalk.runtime.errors import MachineError

LEAST_FRACTION = 0.5  # trafilatura, too, takes another extractor's text if that is twice as long
LONGEST_PLAIN_CLASS = 3  # characters: highlighters of code name their spans like "k", "s1" and "pre"
_RULED_CLASSES = ("bar", "nav", "yin")  # as short, but trafilatura has rules for them
# None of these reached trafilatura's text in 281 pages, but its rules ask each of them: a tenth of its time on articles.
_DROPPED = ("script", "style", "svg", "iframe", "noscript", "link", "template", "head", "nav", "footer", "select", "button")


def precise_content(html: str, fast_content: Callable[[], str]) -> str:
    """A page's main content; "" if there is none. `fast_content` gives what "fast" makes of the page.

    Raises:
        MachineError: trafilatura is not installed.
    """
    trafilatura = load_trafilatura()
    tree = trafilatura.load_html(html)
    if tree is None:
        return ""
    _lxml().strip_elements(tree, *_DROPPED, with_tail=False)
    _unwrap_plain_spans(tree)
    text = trafilatura.extract(tree, fast=True, favor_precision=True, include_comments=False, deduplicate=False) or ""
    other = fast_content()
    return text if len(text) >= LEAST_FRACTION * len(other) else other


def _unwrap_plain_spans(tree: Any) -> None:
    """Leave the insides of spans that say nothing of themselves, in place."""
    for span in list(tree.iter("span")):
        names = span.keys()
        if not names or (names == ["class"] and _is_plain(span.get("class"))):
            span.tag = "plain"
    _lxml().strip_tags(tree, "plain")


def _is_plain(name: str) -> bool:
    return len(name) <= LONGEST_PLAIN_CLASS and name not in _RULED_CLASSES


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
