"""HTML becomes text: main content only, paragraphs and code blocks kept line by line.

resiliparse does the work, or trafilatura with extractor "precise" (`precise.py`). Around resiliparse stand two repairs, both
seen necessary on real manuals:
- it takes any <ul> within three elements of <body> for a menu, which guts plain hand-written pages (SQLite's manual
  lost most of its lists). Lists whose words are mostly not links are moved deeper before extraction.
- marks that documentation generators put behind headings ("¶") are removed where they survive as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import DOMContext, ElementNode, HTMLTree, TextNode, traverse_dom

from ropewalk.corpus.precise import precise_content

# End tags that authors leave out do not nest, and void elements have no inside: neither counts for depth.
_VOID = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
_FLAT = frozenset((*_VOID, "p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "option"))
_NAME_BYTES = 8
_FLAT_CODES = np.sort(np.array([name.ljust(_NAME_BYTES, "\0") for name in _FLAT], dtype="S8").view(np.uint64))
_FIRST_BYTES = np.array([(1 << 8 * length) - 1 for length in range(_NAME_BYTES + 1)], dtype=np.uint64)
_SMALL = np.uint64(0x2020202020202020)
_IS_LETTER = np.array([chr(byte).isalpha() and byte < 128 for byte in range(256)])
_IN_NAME = _IS_LETTER | np.isin(np.arange(256), list(b"0123456789-"))
_MENU_DEPTH = 3
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ufffe\uffff]")
_LINE_END = re.compile(r"\r\n?|\u2028|\u2029")
_SPACE = " \t\u00a0"
_BLANK_LINES = re.compile(r"\n{4,}")


@dataclass(frozen=True)
class Extracted:
    """A page's text and title. `nesting` is set instead when the page nests too deep to extract."""

    text: str
    title: str | None
    nesting: int | None = None


def extract(html: str, *, max_nesting: int, extractor: Literal["fast", "precise"] = "fast") -> Extracted:
    """Take the main content out of a page. The title and the guard against nesting are the same for both extractors."""
    tree = HTMLTree.parse(html)
    body = tree.body
    if body is None:
        return Extracted("", None)
    if _estimated_nesting(html, max_nesting) > max_nesting:
        nesting = _nesting(body)
        if nesting > max_nesting:
            return Extracted("", None, nesting)
    if extractor == "precise":
        text = precise_content(html, lambda: _fast_content(html, tree, body))
    else:
        text = _fast_content(html, tree, body)
    title = clean(" ".join((tree.title or "").split()))
    return Extracted(clean(text), title or None)


def _fast_content(html: str, tree: HTMLTree, body: ElementNode) -> str:
    if "<ul" in html or "<UL" in html:
        _protect_lists(tree, body)
    return extract_plain_text(
        tree, preserve_formatting=True, main_content=True, alt_texts=False, comments=False, post_meta=False
    )


def clean(text: str) -> str:
    """One kind of line end, no control characters, no space at line ends, no permalink marks, at most two blank lines."""
    lines = _CONTROL.sub("", _LINE_END.sub("\n", text)).split("\n")
    lines = [line.rstrip(_SPACE).removesuffix("¶").rstrip(_SPACE) for line in lines]
    return _BLANK_LINES.sub("\n\n\n", "\n".join(lines)).strip("\n")


def _estimated_nesting(html: str, enough: int) -> int:
    """A quick guess from the tags alone, high for sloppy pages: a walk over the tree costs ten times the extraction.

    Stray end tags can lower it. Pages that hide their depth in this way meet the time limit instead. All tags are looked at
    at once, 0.5 ms a page of 150 kB, a third of what a loop over them takes.
    """
    if html.count("<") <= enough:
        return 0
    padded = html.encode("utf-8", "surrogatepass") + bytes(_NAME_BYTES + 2)
    characters = np.frombuffer(padded, dtype=np.uint8)
    tags = np.flatnonzero(characters == ord("<")) + 1
    closing = characters[tags] == ord("/")
    starts = tags + closing
    named = _IS_LETTER[characters[starts]]
    starts, closing = starts[named], closing[named]
    words = np.ndarray(len(characters) - _NAME_BYTES, dtype="<u8", buffer=padded, strides=(1,))[starts]
    ended = ~_IN_NAME[words.view(np.uint8).reshape(-1, _NAME_BYTES)]
    lengths = np.where(ended.any(axis=1), ended.argmax(axis=1), _NAME_BYTES)
    names = (words | _SMALL) & _FIRST_BYTES[lengths]
    nests = _FLAT_CODES[np.searchsorted(_FLAT_CODES[:-1], names)] != names
    depths = np.cumsum(np.where(closing, -1, 1)[nests])
    # An end tag of nothing leaves the depth at 0: what the sum has sunk to so far is taken off.
    return int((depths - np.minimum.accumulate(np.minimum(depths, 0))).max(initial=0))


def _nesting(root: ElementNode) -> int:
    """The tree's true depth."""
    deepest = 0

    def enter(context: DOMContext) -> None:
        nonlocal deepest
        deepest = max(deepest, context.depth)

    traverse_dom(root, enter, elements_only=True)
    return deepest


def _protect_lists(tree: HTMLTree, body: ElementNode) -> None:
    """Move lists of prose out of the depth at which resiliparse sees menus."""
    for depth, found in _shallow_lists(body):
        parent = found.parent
        if parent is None or _is_menu(found):
            continue
        for _ in range(_MENU_DEPTH + 1 - depth):
            wrapper = tree.create_element("div")
            assert wrapper is not None
            parent.insert_before(wrapper, found)
            wrapper.append_child(found)
            parent = wrapper


def _shallow_lists(body: ElementNode) -> list[tuple[int, ElementNode]]:
    """Every <ul> within three steps of `body`, with its depth.

    A walk by hand: in resiliparse 2.0.1, going through a list of found elements takes quadratic time.
    """
    found = []
    level = [body]
    for depth in range(1, _MENU_DEPTH + 1):
        level = [child for parent in level for child in _children(parent)]
        found += [(depth, element) for element in level if element.tag == "ul"]
    return found


def _children(parent: ElementNode) -> Iterator[ElementNode]:
    child = parent.first_element_child
    while child is not None:
        yield child
        child = child.next_element_sibling


def _is_menu(element: ElementNode) -> bool:
    """Whether at least half of the characters are links."""
    links = characters = linked = 0

    def enter(context: DOMContext) -> None:
        nonlocal links, characters, linked
        node = context.node
        if isinstance(node, ElementNode) and node.tag == "a":
            links += 1
        elif isinstance(node, TextNode):
            length = len((node.text or "").strip())
            characters += length
            linked += length if links else 0

    def leave(context: DOMContext) -> None:
        nonlocal links
        if isinstance(context.node, ElementNode) and context.node.tag == "a":
            links -= 1

    traverse_dom(element, enter, leave)
    return 2 * linked >= characters
