"""What a page says of its own use: rules for robots, reservations of text and data mining, licences.

    noindex, nosnippet,   <meta name=robots> and X-Robots-Tag; "none" says noindex. What is told to one robot by name is not
    noai, noimageai       told to us, but for the two that speak of a use and not of a robot
    tdm-reservation       the header or <meta> of TDMRep (W3C community group, 2024). Where one place reserves and another
                          one does not, the rights are reserved
    license               the first of: a link or <a> marked rel=license, a Link header, dcterms.license (or dc.rights and
                          the like), JSON-LD's "license", a link to Creative Commons' licences

What a site says outside its pages (robots.txt, /.well-known/tdmrep.json) is not in a WARC; our own crawl obeys robots.txt.
Strangers write these pages: only their first and last 64 KB are read (licences stand in footers), by the crawler's
tokenizer, which takes linear time whatever it is given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ropewalk.crawl.links import find_tags
from ropewalk.crawl.urls import normalise

SIGNALS = ("noai", "noimageai", "noindex", "nosnippet", "tdm-reservation")
READ_CHARACTERS = 1 << 16
LONGEST_LICENCE_CHARACTERS = 300

_USES = frozenset(("noai", "noimageai"))
_RULES = frozenset(("noai", "noimageai", "noindex", "nosnippet"))
_TAGS = ("meta", "link", "a", "script")
_META_MENTIONS = ("robots", "noai", "noimageai", "tdm-reservation", ".rights")
LONGEST_META_CHARACTERS = 2_000
_AGENT = re.compile(r"\s*([a-z0-9_*-]+)\s*:")
_VALUED = frozenset(("max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"))
_LICENCE_META = frozenset(("dcterms.license", "dc.license", "dcterms.rights", "dc.rights", "license"))
_LINK_HEADER = re.compile(r"<([^<>]*+)>([^<]*+)")
_COMMONS = re.compile(r"(?:https?:)?//(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/", re.IGNORECASE)
_MEDIA = re.compile("image|video|audio|media", re.IGNORECASE)


@dataclass(frozen=True)
class Rights:
    """signals: of SIGNALS, in that order. license: an address, or words; None where none is marked."""

    signals: tuple[str, ...] = ()
    license: str | None = None


@dataclass
class _Found:
    """What was found so far; `licences` by how plainly they are marked, 0 the plainest."""

    url: str
    signals: set[str] = field(default_factory=set)
    licences: dict[int, str] = field(default_factory=dict)

    def add_licence(self, rank: int, value: object) -> None:
        if isinstance(value, str) and (words := " ".join(value[:LONGEST_LICENCE_CHARACTERS].split())):
            self.licences.setdefault(rank, words)

    def add_link(self, rank: int, address: str) -> None:
        self.add_licence(rank, normalise(address, self.url) or address)


def read_rights(html: str, url: str, headers: Iterable[tuple[str, str]]) -> Rights:
    """Read the rights of the page at `url` from its HTML and its HTTP headers.

    Args:
        html: decoded; empty for a page of another kind.
        headers: (name in lower case, value).
    """
    found = _Found(url)
    for name, value in headers:
        if name == "x-robots-tag":
            found.signals |= _robots_rules(value)
        elif name == "tdm-reservation" and value.strip() == "1":
            found.signals.add("tdm-reservation")
        elif name == "link":
            for address, parameters in _LINK_HEADER.findall(value[:READ_CHARACTERS]):
                if _is_licence(parameters):
                    found.add_link(1, address)
    for part in _ends(html):
        _read_html(_worth_reading(part), found)
    licence = found.licences[min(found.licences)] if found.licences else None
    return Rights(tuple(signal for signal in SIGNALS if signal in found.signals), license=licence)


def _is_licence(parameters: str) -> bool:
    """Whether the parameters of a Link header's address (RFC 8288) say rel=license."""
    pairs = (parameter.partition("=") for parameter in parameters.lower().split(";"))
    return any(name.strip() == "rel" and "license" in value.strip(" \t\",'").split() for name, _, value in pairs)


def _ends(html: str) -> list[str]:
    if len(html) <= 2 * READ_CHARACTERS:
        return [html]
    return [html[:READ_CHARACTERS], html[-READ_CHARACTERS:]]


def _worth_reading(part: str) -> str:
    """As much of it as may say something: few pages mention a licence, and what stands in <meta> stands near the top."""
    lower = part.lower()
    if "license" in lower or "creativecommons.org" in lower:
        return part
    last = lower.rfind("<meta")
    head = lower[: last + LONGEST_META_CHARACTERS] if last >= 0 else ""
    return part[: len(head)] if any(mention in head for mention in _META_MENTIONS) else ""


def _read_html(html: str, found: _Found) -> None:
    for tag, attributes, inside in find_tags(html, _TAGS):
        if tag == "meta":
            _read_meta(attributes, found)
        elif tag == "script":
            if attributes.get("type", "").strip().lower() == "application/ld+json":
                for value in _json_licences(inside):
                    found.add_licence(3, value)
        elif "license" in attributes.get("rel", "").lower().split():
            found.add_link(0, attributes.get("href", ""))
        elif _COMMONS.match(attributes.get("href", "").strip()):
            found.add_link(4, attributes["href"])


def _read_meta(attributes: dict[str, str], found: _Found) -> None:
    name, content = attributes.get("name", "").strip().lower(), attributes.get("content", "")
    if name == "robots":
        found.signals |= _robots_rules(content)
    elif name == "tdm-reservation" and content.strip() == "1":
        found.signals.add("tdm-reservation")
    elif name in _LICENCE_META:
        found.add_licence(2, content)
    elif name.endswith(("bot", "crawler", "spider", "-extended")):
        found.signals |= _robots_rules(content) & _USES


def _robots_rules(text: str) -> set[str]:
    """The rules in one header or meta that concern us: `googlebot: noindex, noai` says noai."""
    said: set[str] = set()
    ours = True
    for rule in text[:READ_CHARACTERS].lower().split(","):
        agent = _AGENT.match(rule)
        if agent and agent[1] not in _VALUED:
            ours = agent[1] in ("*", "robots")
            rule = rule[agent.end() :]
        word = rule.strip()
        word = "noindex" if word == "none" else word
        if word in (_RULES if ours else _USES):
            said.add(word)
    return said


def _json_licences(text: str) -> Iterator[Any]:
    """The licences of the things that a JSON-LD script describes, but not of pictures and recordings among them."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # search engines pass over what is not JSON, and so do we
        return
    things = value if isinstance(value, list) else [value]
    for thing in [*things, *(one for outer in things if isinstance(outer, dict) for one in _graph(outer))]:
        if isinstance(thing, dict) and not any(_MEDIA.search(name) for name in _types(thing)):
            licence = thing.get("license")
            yield licence.get("@id") or licence.get("url") if isinstance(licence, dict) else licence


def _types(thing: dict[str, Any]) -> list[str]:
    types = thing.get("@type")
    return [name for name in (types if isinstance(types, list) else [types]) if isinstance(name, str)]


def _graph(thing: dict[str, Any]) -> list[Any]:
    graph = thing.get("@graph")
    return graph if isinstance(graph, list) else []
