"""A folder of small English pages, and the artifacts that the first stages make of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.cli.command import ropewalk

WORDS = """the be to of and that have with rope fibre strand yarn hemp walk long shed room twist lay pull carry learn
read write model page corpus token train measure report people answer question where which when short strong weak old new"""

RECIPE = """
into = "{into}"
[corpus]
stage = "corpus"
pages = "{pages}"
near_duplicates = false
held_out_fraction = 0.1
[tokenizer]
stage = "tokenizer"
corpus = "corpus"
vocabulary = 300
[tokens]
stage = "tokenize"
corpus = "corpus"
tokenizer = "tokenizer"
"""


@pytest.fixture(scope="session")
def pages(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "pages"
    folder.mkdir()
    dice = random.Random(5)
    for number in range(40):
        sentences = (" ".join(dice.choices(WORDS.split(), k=dice.randrange(6, 15))).capitalize() + "." for _ in range(30))
        (folder / f"page{number}.txt").write_text("\n".join(sentences), encoding="utf-8")
    return folder


@pytest.fixture
def recipe(tmp_path, pages) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE.format(into=tmp_path / "runs", pages=pages), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def made(tmp_path_factory, pages) -> Path:
    """A finished run of the recipe; tests must not change it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "small.toml").write_text(RECIPE.format(into="runs", pages=pages), encoding="utf-8")
    process = ropewalk("run", "small.toml", cwd=folder)
    assert process.returncode == 0, process.stderr
    return folder
