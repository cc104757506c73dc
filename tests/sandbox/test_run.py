"""What code can do inside, how its end is told, and what is left of it."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

import ropewalk
from ropewalk.runtime.errors import MachineError, OptionError
from ropewalk.runtime.machine import cache_folder
from ropewalk.sandbox import Limits, Outcome, bubblewrap, run_code
from ropewalk.sandbox.run import choose
from ropewalk.sandbox.seccomp import seccomp_filter
from ropewalk.sandbox.wasm import compiled_interpreter

SOURCE = Path(ropewalk.__file__).parents[1]
PATIENT = Limits(seconds=60)  # where time is not what a test is about: the machine may be busy
THREADS = """
import os, threading
threading.stack_size(65_536)
started = 1
try:
    while True:
        print(started, flush=True)
        threading.Thread(target=threading.Event().wait).start()
        started += 1
except RuntimeError:
    os._exit(0)
"""  # each is counted as it starts: whatever the end, it is known how far it came
both = pytest.mark.parametrize("backend", ["bubblewrap", "wasm"])


def run(code: str, **options: Any) -> Outcome:
    return run_code(code, **{"limits": PATIENT, **options})


@both
def test_code_reads_and_says_and_ends(backend):
    outcome = run("import sys\nprint(input()[::-1]); print('no', file=sys.stderr); exit(3)", stdin="änd\n", backend=backend)
    assert (outcome.stdout, outcome.stderr, outcome.exit_code, outcome.ended) == ("dnä\n", "no\n", 3, "failed")
    assert outcome.backend == backend and 0 < outcome.seconds < 60


@both
def test_the_standard_library_is_there_and_main_is_empty(backend):
    code = (
        "before = sorted(name for name in globals() if not name.startswith('__'))\n"
        "import collections, dataclasses, datetime, decimal, fractions, functools, itertools, json, math, random, re\n"
        "import statistics, string, sys, typing, unittest\n"
        "@dataclasses.dataclass\n"
        "class Point:\n"
        "    x: int\n"
        "print(before, __name__, sys.argv, sys.modules['__main__'].Point is Point, json.dumps([Point(1).x]))"
    )
    outcome = run(code, backend=backend)
    assert outcome.stdout == "['before'] __main__ ['/code/main.py'] True [1]\n".replace("'before'", ""), outcome.stderr


@both
def test_a_traceback_is_that_of_a_script(backend):
    outcome = run("def divide():\n    return 1 / 0\n\ndivide()\n", backend=backend)
    lines = outcome.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1:3] == ['  File "/code/main.py", line 4, in <module>', "    divide()"]
    assert lines[-1] == "ZeroDivisionError: division by zero" and "<string>" not in outcome.stderr


@both
@pytest.mark.parametrize("code", ["x = (", "\0", "print('\ud800')", "a = '\ud800'"])
def test_code_that_is_none_fails(code, backend):
    outcome = run(code, backend=backend)
    assert (outcome.ended, outcome.exit_code) == ("failed", 1) and "Error" in outcome.stderr


@both
def test_bytes_that_are_no_text_are_replaced(backend):
    outcome = run("import os; os.write(1, b'a\\xffb\\0'); os.write(2, b'\\xc3')", backend=backend)
    assert (outcome.stdout, outcome.stderr) == ("a\ufffdb\0", "\ufffd")


@both
def test_a_large_input_arrives_whole_or_is_not_read(backend):
    stdin = "x" * 20_000_000
    assert run("import sys; print(len(sys.stdin.read()))", stdin=stdin, backend=backend).stdout == "20000000\n"
    assert run("print('done')", stdin=stdin, backend=backend).stdout == "done\n"


@both
def test_output_is_kept_up_to_the_limit_exactly(backend):
    code = "import os; os.write(1, b'x' * {}); os.write(2, b'y' * 500)"
    whole = run(code.format(500), limits=replace(PATIENT, output_bytes=1_000), backend=backend)
    assert (len(whole.stdout), len(whole.stderr), whole.ended) == (500, 500, "finished")
    cut = run(code.format(501), limits=replace(PATIENT, output_bytes=1_000), backend=backend)
    assert (len(cut.stdout) + len(cut.stderr), cut.ended, cut.exit_code) == (1_000, "output", None)


@both
def test_what_was_said_before_the_end_is_kept(backend):
    outcome = run("print('said', flush=True)\nwhile True: pass", limits=Limits(seconds=2), backend=backend)
    assert (outcome.stdout, outcome.ended, outcome.exit_code) == ("said\n", "time", None)


@both
def test_too_much_memory_is_told(backend):
    outcome = run("kept = ' ' * 10**9", backend=backend)
    assert outcome.ended == "memory" and "MemoryError" in outcome.stderr
    assert run("kept = ' ' * 10**8", backend=backend).ended == "finished"


def test_files_can_be_written_up_to_the_limit_and_are_gone():
    code = "import os; print(os.listdir()); open('file', 'wb').write(bytes({})); print(os.path.getsize('/tmp/file'))"
    limits = replace(PATIENT, disk_bytes=8_000_000)
    for _ in range(2):
        assert run(code.format(7_000_000), limits=limits, backend="bubblewrap").stdout == "[]\n7000000\n"
    full = run(code.format(9_000_000), limits=limits, backend="bubblewrap")
    assert full.ended == "failed" and "No space left" in full.stderr


def test_threads_can_be_started_up_to_the_limit():
    outcome = run(THREADS, limits=replace(PATIENT, threads=50), backend="bubblewrap")
    assert 10 < int(outcome.stdout.split()[-1]) <= 50, outcome


def test_asyncio_and_sqlite_work_inside():
    code = (
        "import asyncio, sqlite3\n"
        "async def main(): await asyncio.gather(*(asyncio.sleep(0.01) for _ in range(10)))\n"
        "asyncio.run(main())\n"
        "base = sqlite3.connect('/tmp/base'); base.execute('create table t (x)'); base.commit(); print('fine')"
    )
    outcome = run(code, backend="bubblewrap")
    assert outcome.stdout == "fine\n", outcome.stderr


def test_nothing_of_ours_is_open_and_no_privilege_is_left():
    code = (
        "import ctypes, os\n"
        "def is_open(number):\n"
        "    try: return bool(os.fstat(number))\n"
        "    except OSError: return False\n"
        "print([number for number in range(100_000) if is_open(number)], os.getresuid(), os.getresgid(), os.getgroups())\n"
        "held = (ctypes.c_uint32 * 6)()\n"
        "assert ctypes.CDLL(None).capget((ctypes.c_uint32 * 2)(0x20080522, 0), held) == 0\n"
        "print(held[0] | held[1] | held[3] | held[4], ctypes.CDLL(None).prctl(39, 0, 0, 0, 0), sorted(os.environ))"
    )
    outcome = run(code, backend="bubblewrap")
    files, privileges = outcome.stdout.splitlines()
    assert files.startswith("[0, 1, 2] (65534, 65534, 65534) (65534, 65534, 65534)")
    assert privileges.startswith("0 1 ['HOME', ")


def test_sets_have_one_order():
    code = "print(list({'a', 'b', 'c', 'd', 'e', 'f'}))"
    assert len({run(code, backend="bubblewrap").stdout for _ in range(4)}) == 1


@both
@pytest.mark.parametrize("seconds", [0.02, 0.7])
def test_it_ends_in_time_whenever_that_is(seconds, backend):
    compiled_interpreter()
    began = time.monotonic()
    outcome = run("while True: pass", limits=Limits(seconds=seconds), backend=backend)
    assert outcome.ended == "time"
    assert seconds <= time.monotonic() - began < seconds + 0.2


@both
def test_no_process_is_left(backend):
    """Neither alive nor dead and unburied, even where nobody else buries: this process takes on its orphans."""
    set_subreaper = 36
    before = set(psutil.Process().children(recursive=True))  # of tests that came earlier
    assert ctypes.CDLL(None).prctl(set_subreaper, 1, 0, 0, 0) == 0
    try:
        for code, seconds in (("print(1)", 5), ("while True: pass", 0.03), ("while True: pass", 0.5)):
            run(code, limits=Limits(seconds=seconds), backend=backend)
        assert set(psutil.Process().children(recursive=True)) <= before
    finally:
        ctypes.CDLL(None).prctl(set_subreaper, 0, 0, 0, 0)


@both
def test_it_dies_with_its_caller(backend):
    compiled_interpreter()
    code = f"from ropewalk.sandbox import run_code; run_code('while True: pass', backend={backend!r})"
    caller = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(SOURCE)})
    try:
        family = _family(caller.pid, {"bubblewrap": 3, "wasm": 1}[backend])
    finally:
        caller.kill()
        caller.wait()
    assert not psutil.wait_procs(family, timeout=5)[1]


def _family(pid: int, size: int) -> list[psutil.Process]:
    """A process' descendants, once there are as many, and had a moment to tie themselves to it."""
    while len(psutil.Process(pid).children(recursive=True)) < size:
        time.sleep(0.1)
    time.sleep(0.5)
    return psutil.Process(pid).children(recursive=True)


def test_many_run_side_by_side():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda number: run(f"print({number} ** 2)", backend="bubblewrap"), range(24)))
    assert [int(outcome.stdout) for outcome in outcomes] == [number**2 for number in range(24)]


def test_auto_takes_bubblewrap():
    assert run("print(1)").backend == "bubblewrap"


ASK = "from ropewalk.sandbox import run_code; print(run_code('print(6 * 7)', backend={!r}))"


def ask(path: Path, *options: str, backend: str = "auto") -> subprocess.CompletedProcess[str]:
    """Run code from another process that has only `path` for programs."""
    compiled_interpreter()
    environment = {"PATH": str(path), "PYTHONPATH": str(SOURCE), "XDG_CACHE_HOME": str(cache_folder().parent)}
    command = [sys.executable, *options, "-c", ASK.format(backend)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_a_caller_may_have_closed_its_streams():
    code = "print(int(input()) + 1)"
    ours = f"from ropewalk.sandbox import run_code; assert run_code({code!r}, stdin='41').stdout == '42\\n'"
    command = ["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', sys.executable, "-c", ours]
    assert subprocess.run(command, env={**os.environ, "PYTHONPATH": str(SOURCE)}).returncode == 0


def test_without_bubblewrap_auto_takes_webassembly_and_says_so(tmp_path):
    done = ask(tmp_path)
    assert "stdout='42\\n'" in done.stdout and "backend='wasm'" in done.stdout
    assert "apt-get install bubblewrap" in done.stderr


def test_where_namespaces_are_forbidden_auto_takes_webassembly(tmp_path):
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    refusing.chmod(0o755)
    assert "backend='wasm'" in ask(tmp_path).stdout
    alone = ask(tmp_path, backend="bubblewrap")
    assert not alone.stdout and "MachineError" in alone.stderr and "No permissions to create new namespace" in alone.stderr


def test_without_any_backend_nothing_runs(tmp_path):
    done = ask(tmp_path, "-S")  # without the packages that are installed
    assert not done.stdout and "MachineError" in done.stderr
    assert "apt-get install bubblewrap" in done.stderr and "pip install 'ropewalk[wasm]'" in done.stderr


def test_what_others_could_have_written_is_not_loaded(tmp_path, monkeypatch):
    compiled = compiled_interpreter()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "ropewalk").mkdir(mode=0o700)
    copied = Path(shutil.copy(compiled, tmp_path / "ropewalk"))
    assert run("print(1)", backend="wasm").stdout == "1\n"
    for path, mode in ((tmp_path / "ropewalk", 0o777), (copied, 0o666)):
        before = path.stat().st_mode
        path.chmod(mode)
        with pytest.raises(MachineError, match="can be changed by other users"):
            run("print(1)", backend="wasm")
        path.chmod(before)
    copied.write_bytes(b"broken")
    with pytest.raises(MachineError, match="and try again"):
        run("print(1)", backend="wasm")


def test_an_ordinary_user_has_the_same_sandbox():
    """As root these tests go another way into the namespace; this is everybody else's."""
    if os.geteuid() != 0:
        return  # all the others have shown it
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for room in ("runtime", "sandbox"):
            shutil.copytree(SOURCE / "ropewalk" / room, folder / "ropewalk" / room)
        shutil.copy(ropewalk.__file__, folder / "ropewalk")
        done = subprocess.run(
            ["/usr/bin/python3", "-B", "-c", AS_A_USER], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"},
            cwd=folder, user=12_345, group=12_345, extra_groups=[],
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["user"][0].startswith("(65534, 65534, 65534) ['tmp'") and "home" not in said["user"][0]
    assert said["fork"][1] == "failed" and said["loop"][1] == "time" and said["files"][1] == "disk"
    assert said["namespace"][:2] == ["-1\n", "finished"]
    assert 10 < int(said["threads"][0].split()[-1]) <= 32, said["threads"]


AS_A_USER = (
    f"THREADS = {THREADS!r}"
    + """
import json
from ropewalk.sandbox import Limits, Outcome, bubblewrap, run_code

CODES = {
    "user": "import os; print(os.getresuid(), os.listdir('/'))",
    "fork": "import os; os.fork()",
    "loop": "while True: pass",
    "files": "for n in range(10**9): open(f'/tmp/{n}', 'w').close()",
    "namespace": "import ctypes; print(ctypes.CDLL(None).unshare(0x10000000))",
    "threads": THREADS,
}
told = {}
for name, code in CODES.items():
    outcome = run_code(code, backend="bubblewrap", limits=Limits(seconds=2 if name == "loop" else 60))
    told[name] = [outcome.stdout, outcome.ended, outcome.stderr]
print(json.dumps(told))
"""
)


@pytest.mark.parametrize("limit", [{"seconds": 0}, {"seconds": float("inf")}, {"disk_bytes": -1}, {"memory_bytes": 1_000}])
def test_limits_that_are_none_are_refused(limit):
    with pytest.raises(OptionError, match=next(iter(limit))):
        Limits(**limit)


def test_machines_without_a_filter_are_known():
    assert seccomp_filter("riscv64") is None
    assert seccomp_filter("x86_64") != seccomp_filter("aarch64")


def test_the_choice_is_made_by_trying():
    choose.cache_clear()
    assert choose() == "bubblewrap"


def test_a_bwrap_that_dies_before_it_tells_of_its_child_is_not_waited_for(tmp_path, monkeypatch):
    """Its child holds all that it held; after a minute, without the watch, it would let go."""
    (tmp_path / "bwrap").write_text(f"#!/bin/sh\n/bin/sleep 60 &\necho $! > {tmp_path}/child\necho oh >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(MachineError, match=r"cannot make a sandbox here \(oh\)"):
        bubblewrap.run(b"", stdin=b"", limits=PATIENT)
    assert time.monotonic() - began < 50
    child = int((tmp_path / "child").read_text())
    while _lives(child):
        assert time.monotonic() - began < 50
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    """Whether a process runs; one that nobody has buried yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
