"""Attempts to get out, by people who know how. None succeeds.

Those that do no harm are first seen to succeed without a sandbox, or in one that keeps nothing out they could fail for a
reason of their own. The others (bombs, system calls that change the machine) run inside alone, and must be seen to be
refused. No socket leads off this machine. A backend that is missing fails these tests.
"""

from __future__ import annotations

import os
import platform
import signal
from pathlib import Path

import pytest
from tests.sandbox.attempts import BOMBS, HARMLESS, INSIDE_ONLY, OLD_DOOR
from tests.sandbox.world import SECRET, planted, run_bare

from ropewalk.sandbox import Limits, run_code

BACKENDS = ("bubblewrap", "wasm")
PATIENT = {"seconds": 60}  # where time is not the point: the machine may be busy


@pytest.fixture
def world(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("PLANTED", SECRET)
    monkeypatch.setenv("HOME", str(tmp_path))
    with planted(tmp_path) as world:
        yield world


def test_there_are_enough_of_them():
    assert len(HARMLESS) + len(INSIDE_ONLY) + len(BOMBS) >= 100


@pytest.mark.parametrize("attempt", HARMLESS)
def test_where_nothing_keeps_it_it_succeeds(attempt, world):
    assert SECRET in run_bare(world.about(HARMLESS[attempt]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("attempt", HARMLESS)
def test_inside_it_fails(attempt, backend, world):
    outcome = run_code(
        world.about("print('tried', flush=True)\n" + HARMLESS[attempt]), limits=Limits(**PATIENT), backend=backend
    )
    assert outcome.stdout.startswith("tried\n") and outcome.ended in ("finished", "failed")
    assert SECRET not in outcome.stdout
    assert Path(world.FILE).read_text() == SECRET and not Path(world.LINK).exists()
    assert {path.name for path in Path(world.FOLDER).iterdir()} == {"planted", "socket"}
    assert not os.waitid(os.P_PID, world.VICTIM, os.WEXITED | os.WNOHANG | os.WNOWAIT)


@pytest.mark.parametrize("attempt", INSIDE_ONLY)
def test_it_is_refused(attempt):
    outcome = run_code(INSIDE_ONLY[attempt], limits=Limits(**PATIENT), backend="bubblewrap")
    assert outcome.ended == "finished", outcome.stderr
    said = outcome.stdout.splitlines()
    assert said and all(line.startswith("refused") for line in said)


def test_the_door_for_32_bits_is_shut():
    outcome = run_code(OLD_DOOR, backend="bubblewrap")
    killed = {"x86_64": signal.SIGSYS, "aarch64": signal.SIGILL}[platform.machine()]
    assert (outcome.exit_code, outcome.stdout) == (128 + killed, "")


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_goes_off_inside(bomb):
    code, limits, ended = BOMBS[bomb]
    limits = Limits(**PATIENT | limits)
    outcome = run_code(code, backend="bubblewrap", limits=limits)
    assert outcome.ended == ended, outcome.stderr
    assert outcome.seconds < limits.seconds + 0.2
    assert len(outcome.stdout) + len(outcome.stderr) <= limits.output_bytes


@pytest.mark.parametrize(
    "bomb",
    ["a list of strings", "output", "errors", "a large write", "a loop", "sleep", "a pattern that never ends", "recursion"],
)
def test_a_bomb_goes_off_in_webassembly(bomb):
    code, limits, ended = BOMBS[bomb]
    limits = Limits(**PATIENT | limits)
    outcome = run_code(code, backend="wasm", limits=limits)
    assert outcome.ended == ended, outcome.stderr
    assert outcome.seconds < limits.seconds + 0.2
    assert len(outcome.stdout) + len(outcome.stderr) <= limits.output_bytes
