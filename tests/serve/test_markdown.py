"""Markdown becomes a tree whose texts stand where they say; what is hostile stays text, and takes no time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ropewalk.serve.markdown import MOST_CHARACTERS, TAGS, Element, Words, formatted

TEXT = """# Ropes & yarn

Hemp is **very** `brown`; see [the *page*](https://a.b/c(d) "t") or \\*this &eacute; that.

1. one
2. two

| fibre | colour |
|---|---|
| 🧵 jute | golden |

```python
def twist(x):
    return 'jute'  # golden
```
"""


def pieces(nodes):
    for node in nodes:
        if isinstance(node, Words):
            yield node
        else:
            yield from pieces(node.children)


def elements(nodes):
    for node in nodes:
        if isinstance(node, Element):
            yield node
            yield from elements(node.children)


def test_each_piece_stands_where_it_says():
    tree = formatted(TEXT).tree
    for piece in pieces(tree):
        assert piece.start is None or TEXT[piece.start : piece.start + len(piece.text)] == piece.text
    placed = [piece for piece in pieces(tree) if piece.start is not None]
    assert [piece.start for piece in placed] == sorted(piece.start for piece in placed)
    jute = [piece.start for piece in pieces(tree) if "jute" in piece.text]
    assert jute == [TEXT.index("🧵"), TEXT.index("'jute'")]
    assert [piece.text for piece in pieces(tree) if piece.start is None] == ["é"]  # written as an entity


def test_the_tree_has_the_elements_of_the_text():
    tree = formatted(TEXT).tree
    assert [node.tag for node in tree] == ["h4", "p", "ol", "table", "pre"]
    [link] = [node for node in elements(tree) if node.tag == "a"]
    assert link.href == "https://a.b/c(d)"
    code = tree[-1]
    assert code.language == "python"
    assert "".join(piece.text for piece in pieces([code])) == "def twist(x):\n    return 'jute'  # golden\n"
    kinds = {piece.text: piece.kind for piece in pieces([code])}
    assert (kinds["def"], kinds["'jute'"], kinds["# golden"], kinds["twist"]) == ("keyword", "string", "comment", "name")


@pytest.mark.parametrize("text", ["", "Hemp is brown.", "two\nlines", "<b onclick=x>HTML</b>", "one\n\ntwo"])
def test_plain_texts_stay_as_they_are(text):
    assert formatted(text).reason == "plain"


@pytest.mark.parametrize(
    "text",
    [
        "[a](javascript:alert(1)) **b**", "[a](JAVASCRIPT:alert(1)) **b**", "[a](data:text/html,x) **b**",
        "[a](&#106;avascript:x) **b**", "[a](file:///etc/passwd) **b**", "[a](//host/x) **b**", "![a](x.png) **b**",
        "<script>x</script> **b**", "<javascript:alert(1)> **b**",
    ],
)  # fmt: skip
def test_no_address_is_made_that_a_browser_would_run_or_that_leads_here(text):
    found = list(elements(formatted(text).tree))
    assert {node.tag for node in found} <= {"p", "strong", "span"}
    assert not any(node.href for node in found)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab 1\n\t*_`~#>-+|[]()!<&;\\:/.\"'\r\0é", max_size=120))
def test_whatever_is_written_places_are_true_and_elements_known(text):
    tree = formatted(text).tree
    for piece in pieces(tree):
        assert piece.start is None or text[piece.start : piece.start + len(piece.text)] == piece.text
    assert {node.tag for node in elements(tree)} <= TAGS | {"h4", "h5", "h6", "pre", "span"}


HOSTILE = {
    "brackets": "[" * 20_000,
    "stars": "*a_ " * 5_000,
    "ticks": "".join("`" * size + " " for size in range(190)),
    "quotes": "> " * 9_000 + "x",
    "columns": "|a" * 5_000 + "\n" + "|-" * 5_000 + "\n",
    "rows": "|a|b|\n|-|-|\n" + "|1|2|\n" * 3_000,
    "links": "[a](b " * 3_000,
    "comments": "```html\n" + "<!--" * 4_500,
    "strings": "```python\n" + "'''" * 6_000,
    "regular expressions": "```js\n" + "/a" * 9_000,
    "shell": "```bash\n" + "$((" * 6_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_texts_made_to_be_slow_are_not(name):
    started = time.process_time()
    assert formatted(HOSTILE[name][:MOST_CHARACTERS]).reason in ("", "plain", "long")
    assert time.process_time() - started < 5


def test_what_is_too_much_to_format_stays_as_it_is():
    assert formatted("**a**" * MOST_CHARACTERS).reason == "long"
    assert formatted("|a|b|\n|-|-|\n" + "|1|2|\n" * 3_000).reason == "long"
