"""The known truth of a web: what each page is, whether it is worth keeping, and which facts it states.

One JSON object a page:

    {"path": "/countries/france.html", "kind": "good", "keep": true, "copy_of": null,
     "facts": [{"subject": "France", "relation": "capital", "value": "Paris"}]}

`path` is the page's below the root of its site, whose name the crawl puts in front of it. `keep` null: either way is
right. `copy_of` is the path of the page that this one copies.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from ropewalk.runtime.errors import InputError
from ropewalk.runtime.lines import read_objects

DISALLOWED = "disallowed"


class Fact(NamedTuple):
    """What a page states."""

    subject: str
    relation: str
    value: str


@dataclass(frozen=True)
class TruthPage:
    """What is known of one page."""

    path: str
    kind: str
    keep: bool | None
    copy_of: str | None
    facts: frozenset[Fact]


class Truth:
    """All pages of a web by path, and all that they state.

    stated: every fact that stands on some page.
    """

    def __init__(self, pages: Iterable[TruthPage]) -> None:
        self.pages = {page.path: page for page in pages}
        self.stated = frozenset(fact for page in self.pages.values() for fact in page.facts)

    def page(self, url: str) -> TruthPage | None:
        """The page at an address, with or without the name of its site before its path; None for a page unknown here."""
        path = "/" + unquote(urlsplit(url).path).lstrip("/")
        for known in (path, "/" + path[1:].partition("/")[2]):
            page = self.pages.get(known + "index.html" if known.endswith("/") else known)
            if page is not None:
                return page
        return None

    def states(self, url: str, fact: Fact) -> bool:
        """Whether the page at `url` states `fact`."""
        page = self.page(url)
        return page is not None and fact in page.facts


def read_truth(path: Path) -> Truth:
    """The truth in a JSONL file.

    Raises:
        InputError: a line that describes no page, or a copy of a page that is not there; names the file and the line.
    """
    pages, places = {}, {}
    for where, fields in read_objects(path):
        page = _checked(fields, where=where)
        pages[page.path], places[page.path] = page, where
    for page in pages.values():
        if page.copy_of is not None and page.copy_of not in pages:
            raise InputError(f"{places[page.path]}: copy_of names {page.copy_of!r}, which has no line: add it")
    if not pages:
        raise InputError(f"{path} describes no page: write one object a line")
    return Truth(pages.values())


def _checked(fields: dict[str, Any], *, where: str) -> TruthPage:
    path, kind, keep, copy_of = (fields.get(name) for name in ("path", "kind", "keep", "copy_of"))
    if not isinstance(path, str) or not path.startswith("/"):
        raise InputError(f'{where}: "path" must be a text that begins with a slash')
    if not isinstance(kind, str) or not kind:
        raise InputError(f'{where}: "kind" must be a text')
    if not isinstance(keep, bool | None):
        raise InputError(f'{where}: "keep" must be true, false or null')
    if not isinstance(copy_of, str | None):
        raise InputError(f'{where}: "copy_of" must be a path or null')
    facts = fields.get("facts", [])
    if not isinstance(facts, list):
        raise InputError(f'{where}: "facts" must be a list')
    return TruthPage(path, kind, keep, copy_of, frozenset(_fact(fact, where=where) for fact in facts))


def _fact(fields: object, *, where: str) -> Fact:
    values = [fields.get(name) for name in Fact._fields] if isinstance(fields, dict) else []
    if not values or not all(isinstance(value, str) for value in values):
        raise InputError(f'{where}: a fact must have the texts "subject", "relation" and "value"')
    return Fact(*(str(value) for value in values))
