"""Find the links of a page, in time linear in its size whatever it holds.

A full HTML parser would be truer, but the tree builders we could use take quadratic time or worse on nested <a> (100 kB
are enough to stop a crawl for minutes), and a crawler reads what strangers write. So this is the tokenizer's part
alone: tags and attributes as the HTML standard cuts them, comments and script-like elements skipped, no tree.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from ropewalk.crawl.urls import normalise

_RAW_TEXT = ("script", "style", "textarea", "title", "xmp", "noembed", "noframes", "template")
_LINKING = ("a", "area", "base", "meta", "frame", "iframe")
_CLOSING = {name: re.compile(rf"</{name}(?=[\s/>])", re.ASCII | re.IGNORECASE) for name in _RAW_TEXT}
_NAME = re.compile(r"[\s/]*+([^\s/>=][^\s/>=]*+|=[^\s/>=]*+)?+\s*+(=?)\s*+", re.ASCII)
_UNQUOTED = re.compile(r"[^\s>]*+", re.ASCII)
_REFRESH = re.compile(r"\s*\d[\d.]*\s*[;,]?\s*(?:url\s*=)?\s*['\"]?([^'\"]+)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Links:
    """What a page says about where to go.

    urls: normalised, each once, in page order; links marked rel=nofollow are not among them.
    keep: False if the page asks robots not to store it. follow: False if it asks them not to follow its links.
    """

    urls: tuple[str, ...]
    keep: bool = True
    follow: bool = True


def find_links(payload: bytes, *, url: str, charset: str | None = None, robots: str = "") -> Links:
    """Read the links of an HTML page.

    Args:
        charset: what the HTTP header says, if anything; otherwise the page's own bytes decide.
        robots: the X-Robots-Tag header, to which the page's own <meta name=robots> adds.
    """
    text = decode(payload, charset)
    base = url
    found: dict[str, None] = {}
    addresses: list[str] = []
    rules = [robots]
    for tag, attributes, _ in find_tags(text, _LINKING):
        if tag == "base":
            if base == url:  # the first one counts
                base = normalise(attributes.get("href", ""), url) or url
        elif tag == "meta":
            if attributes.get("name", "").strip().lower() == "robots":
                rules.append(attributes.get("content", ""))
            elif attributes.get("http-equiv", "").strip().lower() == "refresh":
                refresh = _REFRESH.match(attributes.get("content", ""))
                addresses += [refresh[1]] if refresh else []
        elif "nofollow" not in attributes.get("rel", "").lower().split():
            addresses += [attributes[key] for key in ("href", "src") if key in attributes]
    said = {word.strip().lower() for rule in rules for word in rule.split(",")}
    follow = not said & {"nofollow", "none"}
    # Half the links of a page repeat or differ in the fragment alone, and normalising is most of the work here.
    for address in dict.fromkeys(address.partition("#")[0] for address in addresses) if follow else ():
        link = normalise(address, base)
        if link:
            found[link] = None
    return Links(tuple(found), keep=not said & {"noindex", "none"}, follow=follow)


def decode(payload: bytes, charset: str | None) -> str:
    """Bytes to text by the charset the server gave, or by byte order mark, <meta> and content; never fails."""
    encoding = charset or detect_encoding(payload[:65536], from_html_meta=True) or "utf-8"
    try:
        return payload.decode(encoding, errors="replace")
    except LookupError:
        return bytes_to_str(payload, "utf-8", errors="replace")


def find_tags(text: str, names: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str], str]]:
    """The opening tags of these names, with their attributes, first occurrences winning, and the text inside a script's.

    Of elements that hold text and no tags (script, title and their like) all else is passed over.
    """
    pattern = _opening(names)
    position = 0
    while opening := pattern.search(text, position):
        position = opening.end()
        if opening[1] is None:
            position = _past_comment(text, position)
            continue
        tag = opening[1].lower()
        attributes, position = _attributes(text, position)
        if tag not in _CLOSING:
            yield tag, attributes, ""
        elif closing := _CLOSING[tag].search(text, position):
            if tag in names:
                yield tag, attributes, text[position : closing.start()]
            position = closing.end()
        else:
            return


@functools.cache
def _opening(names: tuple[str, ...]) -> re.Pattern[str]:
    """A comment, a tag of these names, or one whose text must be passed over."""
    either = "|".join(dict.fromkeys((*names, *_RAW_TEXT)))
    return re.compile(rf"<(?:!--|({either})(?=[\s/>]))", re.ASCII | re.IGNORECASE)


def _past_comment(text: str, position: int) -> int:
    if text.startswith((">", "->"), position):
        return position
    end = text.find("-->", position)
    return len(text) if end < 0 else end + 3


def _attributes(text: str, position: int) -> tuple[dict[str, str], int]:
    """Attributes from `position` to the tag's '>', and where the tag ends. A tag that never ends has none."""
    attributes: dict[str, str] = {}
    while True:
        name = _NAME.match(text, position)
        assert name is not None, "every part of the pattern is optional"
        position = name.end()
        if position >= len(text):
            return {}, position
        if name[1] is None and not name[2]:
            return attributes, position + 1
        value = ""
        if name[2]:
            quote = text[position]
            if quote in "\"'":
                end = text.find(quote, position + 1)
                if end < 0:
                    return {}, len(text)
                value, position = text[position + 1 : end], end + 1
            else:
                unquoted = _UNQUOTED.match(text, position)
                assert unquoted is not None, "the pattern may be empty"
                value, position = unquoted[0], unquoted.end()
        attributes.setdefault((name[1] or "").lower(), html.unescape(value))
