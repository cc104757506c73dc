"""The examples run, in their order, and say what they promise."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from ropewalk.artifact import verify

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("[0-9]*.py"))
SAYS = {
    "atlas": "what counts as right: ['",
    "crawl": "http://127.0.0.1:8485/topics/",
    "corpus": "near_duplicate",
    "tokenizer": "learned '<|im_end|>'",
    "trace": "http://127.0.0.1:8485/topics/",
    "pretrain": " nats a token",
    "model": "model.safetensors",
    "engine": "ended by length",
    "evaluate": "kneser_ney_5_gram",
    "posttrain": "3 + 4 =",
    "serve": '"object": "text_completion"',
    "sandbox": "'while True: pass': time",
    "recipe": "whole",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("examples")


def test_there_is_one_for_every_room_that_makes_something():
    assert [path.stem.partition("_")[2] for path in EXAMPLES] == list(SAYS)


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(script, folder, monkeypatch, capsys):
    """All in one process, each on what those before it have made: torch is imported once."""
    monkeypatch.setattr(sys, "argv", [str(script), str(folder)])
    runpy.run_path(str(script), run_name="__main__")
    assert SAYS[script.stem.partition("_")[2]] in capsys.readouterr().out


def test_what_they_made_is_whole(folder):
    made = [path for path in folder.iterdir() if (path / "manifest.json").is_file()]
    assert len(made) == 12
    assert not [damage for path in made for damage in verify(path)]
