"""An answer's Markdown as a tree of elements, each piece of text with its place in the answer.

No HTML is made anywhere: the page builds elements from this tree, and text stays text. Places lead from what is shown back
to the answer's tokens, so that a formatted word still tells how probable it was. They are found by looking on from the last
one within the block's lines; a piece that is not found (an entity, say) has none.

markdown-it-py and Pygments are imported here alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, String, _TokenType

MOST_CHARACTERS = 20_000  # longer answers stay as they are
MOST_NODES = 5_000  # of a tree; a browser is slow with more

# Languages whose colours are worth it. Of Pygments' other five hundred lexers some are slow on texts made for that.
LANGUAGES = frozenset(
    "bash c c++ cpp css diff go html java javascript js json python py rust rs sh sql toml ts typescript xml yaml".split()
)
KINDS = {Keyword: "keyword", String: "string", Number: "number", Comment: "comment", Name.Function: "name"}
TAGS = frozenset("p strong em s a code ul ol li blockquote hr table thead tbody tr th td br".split())
ADDRESSES = ("https://", "http://", "mailto:")


@dataclass(frozen=True)
class Words:
    """A piece of text. start: of its characters in the answer, None where it is not there. kind: of code, what it is."""

    text: str
    start: int | None
    kind: str = ""


@dataclass(frozen=True)
class Element:
    """An element by its HTML name. href: of a link. language: of a block of code, which is a `pre`."""

    tag: str
    children: Sequence[Element | Words] = ()
    href: str = ""
    language: str = ""


@dataclass(frozen=True)
class Formatted:
    """reason: why the answer stays as it is: it has nothing to format, or too much; then there is no tree."""

    tree: Sequence[Element | Words]
    reason: Literal["", "plain", "long"] = ""


def formatted(text: str) -> Formatted:
    """The tree of a text in CommonMark with tables and strikethrough; what looks like HTML is text."""
    if len(text) > MOST_CHARACTERS:
        return Formatted((), "long")
    root = SyntaxTreeNode(_parser().parse(text))
    if all(node.type in ("root", "paragraph", "inline", "text", "softbreak") for node in root.walk()):
        return Formatted((), "plain")
    if sum(1 for _ in root.walk()) > MOST_NODES:
        return Formatted((), "long")
    tree = _Grower(text).grown(root)
    return Formatted((), "long") if sum(map(_count, tree)) > MOST_NODES else Formatted(tree)


def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("text_join")


def _count(node: Element | Words) -> int:
    return 1 + sum(map(_count, node.children)) if isinstance(node, Element) else 1


class _Grower:
    """Goes through a parsed text once, in its order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = [0, *(match.end() for match in re.finditer(r"\r\n|\n|\r", text)), len(text)]
        self._cursor, self._end = 0, len(text)

    def grown(self, node: SyntaxTreeNode) -> list[Element | Words]:
        """What the children of a node become."""
        return [piece for child in node.children for piece in self._node(child)]

    def _node(self, node: SyntaxTreeNode) -> Iterator[Element | Words]:
        if node.map and node.type != "inline":
            self._cursor = max(self._cursor, self._lines[node.map[0]])
            self._end = self._lines[min(node.map[1], len(self._lines) - 1)]
        match node.type:
            case "inline" | "paragraph" if node.type == "inline" or node.hidden:  # of a list without gaps
                yield from self.grown(node)
            case "text" | "text_special":
                yield from self._words(node.content)
            case "softbreak":
                yield from self._words("\n")
            case "code_inline":
                yield Element("code", list(self._words(node.content)))
            case "fence" | "code_block":
                yield self._code(node)
            case "heading":  # below the page's own, which end with h3
                yield Element(f"h{min(6, int(node.tag[1]) + 3)}", self.grown(node))
            case "link":
                yield self._link(node)
            case "image":  # never loaded: to ask for an address is to tell something to whoever is there
                yield self._link_to(str(node.attrs.get("src", "")), list(self._words(node.content or "image")))
            case _:
                yield Element(node.tag, self.grown(node)) if node.tag in TAGS else Element("p", self.grown(node))

    def _words(self, text: str, kind: str = "") -> Iterator[Words]:
        if text:
            start = self._text.find(text, self._cursor, self._end)
            if start >= 0:
                self._cursor = start + len(text)
            yield Words(text, start if start >= 0 else None, kind)

    def _link(self, node: SyntaxTreeNode) -> Element:
        href = str(node.attrs.get("href", ""))
        link = self._link_to(href, self.grown(node))
        shut = self._text.find("](", self._cursor, min(self._cursor + 8, self._end))  # behind the marks that end its words
        if shut >= 0:  # its address is not among what is shown
            self._cursor = max(self._cursor, self._text.find(")", shut + 2 + len(href), self._end))
        return link

    def _link_to(self, href: str, children: list[Element | Words]) -> Element:
        return Element("a", children, href=href) if href.lower().startswith(ADDRESSES) else Element("span", children)

    def _code(self, node: SyntaxTreeNode) -> Element:
        language = (node.info or "").split()[0].lower() if (node.info or "").split() else ""
        if node.type == "fence":  # behind the line that opens it
            self._cursor = self._text.find("\n", self._cursor, self._end) + 1 or self._end
        pieces = [piece for kind, text in _coloured(node.content, language) for piece in self._words(text, kind)]
        return Element("pre", pieces, language=language)


def _coloured(code: str, language: str) -> list[tuple[str, str]]:
    """Code in pieces, each with what it is, a word of `KINDS` or nothing; a piece is within a line."""
    if language not in LANGUAGES:
        pieces = [("", code)]
    else:
        tokens = get_lexer_by_name(language).get_tokens_unprocessed(code)
        pieces = [(_kind(kind), text) for _, kind, text in tokens]
    merged = [(kind, "".join(text for _, text in group)) for kind, group in groupby(pieces, key=lambda piece: piece[0])]
    return [(kind, line) for kind, text in merged for line in text.splitlines(keepends=True)]


def _kind(kind: _TokenType) -> str:
    return next((name for family, name in KINDS.items() if kind in family), "")
