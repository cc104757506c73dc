from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ropewalk

LOOP = """
import numpy as np
from ropewalk.tokenizer import compiling, splitting
compiling.announce()
text = np.frombuffer(b"abc.", dtype=np.uint8)
print(splitting.run_end(text, 0, 4, splitting.LETTER, splitting.character_classes()), compiling.kept_in())
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package, which may be changed."""
    copy = tmp_path / "src" / "ropewalk"
    shutil.copytree(Path(ropewalk.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def run(package):
    """Run one loop in a process of its own: whether it was announced, and where what it compiled to is kept."""
    environment = {"PYTHONPATH": str(package.parent), "XDG_CACHE_HOME": str(package.parent / "cache"), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", LOOP], capture_output=True, text=True, check=True, env=environment)
    end, kept = done.stdout.split()
    assert end == "3"
    return "compiling the tokenizer's loops" in done.stderr, Path(kept)


def test_loops_are_compiled_once_and_anew_when_one_of_them_has_changed(package):
    announced, kept = run(package)
    assert announced
    assert kept.is_relative_to(package / "tokenizer" / "__pycache__")
    assert run(package) == (False, kept)
    source = package / "tokenizer" / "encoder.py"  # this loop does not call it, but what another calls may be anywhere
    source.write_text(source.read_text() + "# changed\n")
    announced, elsewhere = run(package)
    assert announced
    assert elsewhere != kept
    assert not kept.exists()


def test_where_the_package_cannot_be_written_the_user_s_cache_keeps_them(package):
    (package / "tokenizer" / "__pycache__").write_text("in the way")
    announced, kept = run(package)
    assert announced
    assert kept.is_relative_to(package.parent / "cache")
    assert run(package) == (False, kept)
