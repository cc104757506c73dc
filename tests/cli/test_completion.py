"""The completion is bash's own: a shell reads it and is asked what it would offer."""

from __future__ import annotations

import re
import subprocess

import pytest

from ropewalk.cli.completion import flags, script
from ropewalk.cli.reference import help_text
from ropewalk.cli.verbs import VERBS


def offered(*words: str) -> list[str]:
    """What bash offers where `words` stand behind `ropewalk` and the last is being written."""
    typed = " ".join(f"'{word}'" for word in ("ropewalk", *words))
    asked = f'{script()}\nCOMP_WORDS=({typed}); COMP_CWORD={len(words)}; _ropewalk; printf "%s\\n" "${{COMPREPLY[@]}}"'
    return subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True).stdout.split()


def test_verbs_and_flags_are_offered():
    assert offered("tok") == ["tokenizer", "tokenize"]
    assert offered("feedback", "l") == ["leaderboard"]
    assert offered("feedback", "export", "--st") == ["--store"]
    assert offered("tokenize", "--c") == ["--corpus", "--conversations"]
    assert offered("tokenize", "--out", "runs/x", "--fo") == ["--force"]
    assert offered("benchmark", "--no-b") == ["--no-boundary"]
    assert offered("nothing", "--o") == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_is_one_of_the_help(verb):
    assert set(flags(VERBS[verb])) <= set(re.findall(r"--[a-z][a-z0-9-]*", help_text(VERBS[verb])))
