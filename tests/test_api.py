"""`ropewalk.api`: the verbs as functions, and the names that it exports."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import ropewalk
from ropewalk import api
from ropewalk.cli.functions import function_name
from ropewalk.cli.verbs import STAGE_VERBS, VERBS

OTHERS = {"Artifact", "RopewalkError", "open_artifact"}


def test_every_verb_is_exported_and_nothing_else():
    assert set(api.__all__) == {*map(function_name, VERBS), *OTHERS}
    assert len(api.__all__) == len(set(api.__all__))


@pytest.mark.parametrize("verb", VERBS)
def test_a_function_takes_its_verbs_options(verb):
    function = getattr(api, function_name(verb))
    parameters = list(inspect.signature(function).parameters)
    fields = list(inspect.signature(VERBS[verb].load_options()).parameters)
    assert parameters == [*(["out"] if verb in STAGE_VERBS else []), *fields]
    assert function.__name__ == function_name(verb)
    assert f"ropewalk {verb} --help" in function.__doc__


def test_importing_the_package_opens_no_door():
    code = "import sys, ropewalk; print(*(name for name in sys.modules if name.startswith('ropewalk')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == [
        "ropewalk"
    ]
    code = "import sys, ropewalk; ropewalk.api.corpus; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "pyarrow", "polars", "pydantic"} & set(loaded)


def test_what_it_makes_is_what_the_command_line_makes(corpus, tmp_path):
    made = ropewalk.api.tokenizer(tmp_path / "tokenizer", corpus=corpus, vocabulary=400)
    assert made.path == tmp_path / "tokenizer"
    again = [
        sys.executable,
        "-m",
        "ropewalk",
        "tokenizer",
        "--corpus",
        str(corpus),
        "--vocabulary",
        "400",
        "--out",
        str(made.path),
    ]
    assert "already made" in subprocess.run(again, capture_output=True, text=True, check=True).stderr


def test_paths_may_be_text_and_mistakes_are_sentences(corpus, tmp_path, capsys):
    api.tokenizer(str(tmp_path / "tokenizer"), corpus=str(corpus), vocabulary=400)
    assert api.verify((tmp_path / "tokenizer",)) == 0
    assert "whole" in capsys.readouterr().out
    with pytest.raises(api.RopewalkError, match="ropewalk tokenizer: option 'vocabulary' is 1"):
        api.tokenizer(tmp_path / "other", corpus=Path(corpus), vocabulary=1)
    with pytest.raises(TypeError, match="vocabluary"):
        api.tokenizer(tmp_path / "other", corpus=corpus, vocabluary=400)
