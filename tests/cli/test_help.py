"""Every verb explains itself, quickly, and docs/cli.md says the same."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.command import command, ropewalk

from ropewalk.cli.api_reference import api_reference
from ropewalk.cli.reference import help_text, reference
from ropewalk.cli.verbs import STAGE_VERBS, VERBS, joined

TRIES = 8  # a shared host can make any one of them twice as slow
ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name != "cli.md")]
MOST_IMPORTS = 5  # 0.5 s where the import of tyro takes 0.1 s; hosts differ, and one host does from hour to hour


def processor_seconds(arguments: list[str]) -> float:
    """User and system time of a process: what it costs on an idle machine, even if this one is busy."""
    before = os.times()
    subprocess.run(arguments, check=True, capture_output=True)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_takes_little_longer_than_importing_what_draws_it(verb):
    arguments, yardstick = command(*verb.split(), "--help"), [sys.executable, "-c", "import tyro"]
    assert any(processor_seconds(arguments) < MOST_IMPORTS * processor_seconds(yardstick) for _ in range(TRIES))


def test_help_imports_nothing_heavy():
    code = """
import contextlib, io, sys
from ropewalk.cli import main
from ropewalk.cli.verbs import VERBS
for verb in VERBS:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main([*verb.split(), "--help"])
print(*{name.partition(".")[0] for name in sys.modules})
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "pyarrow", "polars", "aiohttp", "pydantic"} & set(loaded)


def test_the_overview_imports_no_room():
    code = "import sys; from ropewalk.cli import main; main([]); print('|', *sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    overview, _, loaded = printed.rpartition("|")
    assert all(f"\n  {verb} " in overview for verb in VERBS)
    rooms = ("crawl", "corpus", "tokenizer", "model", "engine", "pretrain", "evaluate", "serve")
    assert not {f"ropewalk.{room}" for room in rooms} & set(loaded.split())


@pytest.mark.parametrize("verb", STAGE_VERBS)
def test_stage_verbs_take_out_and_force_and_explain_every_option(verb):
    text = help_text(VERBS[verb])
    assert "--out PATH" in text and "--force" in text
    options_class = VERBS[verb].load_options()
    for name in options_class.__dataclass_fields__:
        flag = "--" + name.replace("_", "-")
        _, _, after = text.partition(flag)
        explanation = after.partition("(default")[0].partition("(required")[0]
        assert len(explanation.split()) > 3, f"{flag} is not explained"


def test_the_reference_in_the_docs_is_what_is_printed():
    path = Path(__file__).parents[2] / "docs" / "cli.md"
    assert path.read_text(encoding="utf-8") == reference(), "docs/cli.md has drifted: run make docs"


def test_the_functions_in_the_docs_are_those_of_the_program():
    path = Path(__file__).parents[2] / "docs" / "api.md"
    assert path.read_text(encoding="utf-8") == api_reference(), "docs/api.md has drifted: run make docs"


def commands_of(page: Path) -> list[tuple[str, list[str]]]:
    """The command lines of a page: verb and flags of each, continued lines joined."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^(?:    |\$ )(?:\.venv/bin/)?ropewalk (.+)", text, re.MULTILINE)
    commands = [joined(shlex.split(line, comments=True)) for line in lines]
    return [(words[0], [word.partition("=")[0] for word in words[1:] if word.startswith("--")]) for words in commands]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_commands_in_the_docs_are_verbs_with_their_flags(page):
    for verb, flags in commands_of(page):
        assert verb in VERBS, f"there is no ropewalk {verb}"
        assert set(flags) <= set(re.findall(r"--[a-z][a-z0-9-]*", help_text(VERBS[verb]))), verb


def test_version_and_unknown_verbs():
    assert ropewalk("--version").stdout.startswith("ropewalk 0.")
    process = ropewalk("corpsu")
    assert (process.returncode, process.stderr) == (2, "there is no verb 'corpsu'; did you mean 'corpus'?\n")
