"""Real documents that any machine with this environment has: manuals and licences beside packages, Python's own help."""

from __future__ import annotations

import ast
import os
import sysconfig
from pathlib import Path
from pydoc_data import topics

from ropewalk.corpus.extract import extract

SHORTEST_CHARACTERS = 80


def documents(count: int, *, longest_characters: int = 4_000) -> list[str]:
    """`count` different documents, or what there is: files first, longer ones cut at a line end, then docstrings."""
    found: dict[str, None] = {}
    for text in (*_files(), *topics.topics.values(), *_docstrings()):
        text = text[:longest_characters]
        if len(text) == longest_characters:
            text = text[: text.rfind("\n") + 1]
        if len(text) >= SHORTEST_CHARACTERS:
            found[text] = None
        if len(found) == count:
            break
    return list(found)


def _files():
    packages = Path(sysconfig.get_path("purelib"))
    for path in sorted(path for path in packages.rglob("*") if path.suffix in (".rst", ".md", ".txt", ".html")):
        text = path.read_text(encoding="utf-8", errors="replace")
        yield extract(text, max_nesting=512).text if path.suffix == ".html" else text


def _docstrings():
    for path in sorted(Path(os.__file__).parent.glob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        for node in (module, *(node for node in module.body if isinstance(node, ast.ClassDef | ast.FunctionDef))):
            yield ast.get_docstring(node) or ""
