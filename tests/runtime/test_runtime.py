"""Progress lines, seeds, metrics and what the machine is."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ropewalk.runtime import doctor, machine
from ropewalk.runtime.doctor import DoctorOptions, Finding, findings
from ropewalk.runtime.metrics import Metrics, read_metrics
from ropewalk.runtime.progress import clock, progress, say, size
from ropewalk.runtime.seeds import derive_seed, generator
from ropewalk.runtime.terminal import one_line, printable


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (12.4, "12 s"), (59.7, "1 min 00 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")],
)
def test_durations_read_well(seconds, written):
    assert clock(seconds) == written


@pytest.mark.parametrize(
    ("count_bytes", "written"),
    [(0, "0 B"), (812, "812 B"), (4_100, "4.1 kB"), (3.2e6, "3.2 MB"), (1.8e9, "1.8 GB"), (4e15, "4000.0 TB")],
)
def test_sizes_read_well(count_bytes, written):
    assert size(count_bytes) == written


def test_a_resumed_bar_counts_what_was_done_but_not_for_the_rate(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with progress("reading", total=1_000, unit="pages", done=500) as bar:
        now[0] += 20
        bar.advance(100, note="page.html")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading: 600/1,000 pages, 5/s, 20 s, 1 min 20 s left  page.html"


def test_progress_on_a_terminal_draws_a_bar():
    """A pseudo-terminal, because the bar shows only on one."""
    import pty

    code = (
        "from ropewalk.runtime.progress import progress\nwith progress('counting', total=3, unit='steps', done=1) as bar:\n"
    )
    code += "    bar.advance(2, note='last')\n"
    controller, terminal = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stderr=terminal, check=True, env={"TERM": "xterm", "COLUMNS": "120"})
    shown = os.read(controller, 65_536).decode()
    assert "counting" in shown and "3/3" in shown and "last" in shown


def test_names_with_brackets_and_escape_sequences_stay_text_on_a_terminal():
    import pty

    code = """
from ropewalk.runtime.progress import progress
with progress('notes [/old]', total=1, unit='files') as bar:
    bar.advance(1, note='[/page]\\x1b[5m.html')
"""
    controller, terminal = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stderr=terminal, check=True, env={"TERM": "xterm", "COLUMNS": "120"})
    shown = os.read(controller, 65_536).decode()
    assert "notes [/old]" in shown and "[/page]\ufffd[5m.html" in shown and "\x1b[5m" not in shown


def test_what_others_wrote_is_printed_without_its_controls(capsys):
    say("a\x1b]0;title\x07b\x9b2J\rc\tд\n")
    assert capsys.readouterr().err == "a\ufffd]0;title\ufffdb\ufffd2J\ufffdc\tд\n\n"
    assert printable("caf\udce9") == "caf\ufffd"
    assert one_line("a\tb\nc") == "a b c"


def test_seeds_depend_on_every_part_and_on_nothing_else():
    assert derive_seed("order", 3) == derive_seed("order", 3)
    assert len({derive_seed("order", 3), derive_seed("order", 4), derive_seed("weights", 3), derive_seed("order3")}) == 4
    assert 0 <= derive_seed("x") < 2**63
    assert generator("a", 1).integers(0, 2**63, 4).tolist() == generator("a", 1).integers(0, 2**63, 4).tolist()


def test_the_stream_of_a_seed_never_changes():
    assert derive_seed("pinned", 0) == PINNED_SEED
    assert generator("pinned", 0).integers(0, 1000, 4).tolist() == PINNED_NUMBERS


PINNED_SEED = 5549648702174906609
PINNED_NUMBERS = [15, 222, 315, 697]


def test_metrics_of_a_killed_run_hold_each_step_once(tmp_path):
    metrics = Metrics(tmp_path, resumed_at_step=0)
    for step in range(5):
        metrics.log(step, {"train/loss": 5.0 - step})
    metrics.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "tra')  # cut off by a kill
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1, 2, 3, 4]
    metrics = Metrics(tmp_path, resumed_at_step=3)
    metrics.log(3, {"train/loss": 1.0})
    metrics.close()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["train/loss"]) for row in rows] == [(0, 5.0), (1, 4.0), (2, 3.0), (3, 1.0)]


def test_the_machine_is_described_within_reason(tmp_path):
    total_bytes, free_bytes = machine.memory_bytes()
    assert machine.cores() >= 1
    assert 1e8 < free_bytes <= total_bytes < 1e15
    assert machine.disk_free_bytes(tmp_path / "not" / "yet") == pytest.approx(machine.disk_free_bytes(tmp_path), rel=0.2)
    assert machine.system() in ("Linux", "WSL", "macOS", "other")


def test_compiler_named_by_the_environment_is_taken_without_its_flags(monkeypatch, tmp_path):
    compiler = tmp_path / "my-c++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", f"{compiler} -march=native")
    assert machine.cxx_compiler() == str(compiler)
    monkeypatch.setenv("CXX", "/nowhere/c++")
    assert machine.cxx_compiler() is None


def test_every_lack_the_doctor_finds_has_a_cure(tmp_path):
    found = list(findings(DoctorOptions(folder=tmp_path)))
    assert {"Python", "libraries", "torch", "memory", "disk", "C++ compiler", "GPU", "bubblewrap"} <= {
        one.name for one in found
    }
    assert all(one.mend for one in found if not one.fine)
    assert not [one for one in found if one.needed and not one.fine]
    assert math.isfinite(machine.disk_free_bytes(Path("/")))


def test_the_doctor_looks_whether_a_folder_that_is_not_there_yet_can_be_made(tmp_path):
    def writing(folder: Path) -> bool:
        return next(one.fine for one in findings(DoctorOptions(folder=folder)) if one.name == "writing")

    (tmp_path / "afile").write_text("mine")
    assert writing(tmp_path / "not" / "there" / "yet")
    assert not writing(tmp_path / "afile" / "yet")


def test_the_doctor_tries_bubblewrap(tmp_path, monkeypatch):
    """`bwrap` is there in many containers that forbid what it needs."""

    def bubblewrap() -> Finding:
        return next(one for one in findings(DoctorOptions(folder=tmp_path)) if one.name == "bubblewrap")

    monkeypatch.setattr(doctor, "system", lambda: "Linux")
    assert bubblewrap().fine and "untrusted code runs in it" in bubblewrap().found
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert not bubblewrap().fine and "No permissions" in bubblewrap().found and "ropewalk[wasm]" in bubblewrap().mend


def test_a_driver_that_hangs_is_a_finding(tmp_path, monkeypatch):
    hung = tmp_path / "nvidia-smi"
    hung.write_text("#!/bin/sh\nexec sleep 60\n")
    hung.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(doctor, "system", lambda: "Linux")
    monkeypatch.setattr(doctor, "DRIVER_SECONDS", 0.2)
    found = next(one for one in findings(DoctorOptions(folder=tmp_path)) if one.name == "GPU")
    assert not found.fine and not found.needed and "gives no answer within 0.2 s" in found.found
