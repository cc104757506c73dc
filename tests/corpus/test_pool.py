"""Standard-library functions stand in for pages here: spawned workers can import them."""

import math
import signal

from tests.corpus.dying import dies_once

from ropewalk.corpus.pool import Batch, map_batches


def lost(task: int, how: str) -> str:
    return f"{task} {how}"


def test_a_crash_costs_its_own_task_only():
    segfault, kill = int(signal.SIGSEGV), int(signal.SIGKILL)
    batches = [Batch("a", [0, segfault, 0, kill, 0]), Batch("b", [0, 0]), Batch("c", [kill])]
    results = dict(map_batches(signal.raise_signal, batches, workers=2, task_seconds=10, lost=lost))
    assert results == {
        "a": [None, f"{segfault} crash", None, f"{kill} crash", None],
        "b": [None, None],
        "c": [f"{kill} crash"],
    }


def test_a_kill_from_outside_costs_nothing(tmp_path):
    marks = [tmp_path / name for name in "abc"]
    results = dict(map_batches(dies_once, [Batch("all", marks)], workers=1, task_seconds=10, lost=lambda mark, how: how))
    assert results == {"all": ["lived"] * 3}


def test_a_hang_in_c_is_killed_and_named():
    batches = [Batch("a", [3, 30_000_000, 4])]
    results = dict(map_batches(math.factorial, batches, workers=1, task_seconds=1, lost=lost))
    assert results == {"a": [6, "30000000 timeout", 24]}
