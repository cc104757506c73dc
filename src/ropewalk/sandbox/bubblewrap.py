"""Run code in namespaces of its own, by bubblewrap (bwrap 0.8 or newer, Linux).

Inside there is a root of nothing but the interpreter, its library, the C libraries, /dev/null, /dev/urandom and the code,
all read-only; /tmp of a limited size; no /proc, no terminal, no network, no other process. The system calls that would
lead out of the limits are denied (`seccomp`). The interpreter is the one that ropewalk runs on.

The user inside is 65534. For an ordinary caller that is the caller in another guise, and the kernel counts its threads
by the namespace. For root we make a namespace of two users: 0 sets it up, and can read an interpreter in root's home;
the code becomes 65534, which is 65534 outside too, because no limit on threads holds for root.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from subprocess import Popen
from typing import IO

from ropewalk.runtime.errors import MachineError
from ropewalk.sandbox.child import INSIDE, child, end_of, outcome, pipe, watch
from ropewalk.sandbox.inside import CODE
from ropewalk.sandbox.limits import Limits, Outcome
from ropewalk.sandbox.seccomp import seccomp_filter

USER = 65534
START_SECONDS = 60.0  # bwrap tells of its child within milliseconds; a machine may be busy
# The reaper that bwrap leaves inside is what dies with us: the code could untie itself, and root's change of user unties it.
NAMESPACES = (
    *("--unshare-all", "--unshare-user", "--hostname", "sandbox", "--cap-drop", "ALL"),
    *("--die-with-parent", "--new-session"),
)
ONE_USER = ("--uid", USER, "--gid", USER, "--disable-userns")
LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64")
DEVICES = ("/dev/null", "/dev/urandom")
ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "LD_LIBRARY_PATH": "/python/lib",  # for an interpreter whose libpython is a file of its own
    "MALLOC_ARENA_MAX": "1",  # else each thread takes 64 MB of addresses
    "PATH": "/python/bin",
    "PYTHONHASHSEED": "0",  # sets in one order: the same code says the same each time
}


def run(code: bytes, *, stdin: bytes, limits: Limits) -> Outcome:
    """Run Python code.

    Raises:
        MachineError: bubblewrap is not there, or cannot make the sandbox.
    """
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        code_file, filter_file = (stack.enter_context(_file_of(data)) for data in (code, _filter()))
        (status, status_end), (go_end, go) = (stack.enter_context(pipe()) for _ in range(2))
        unread = stack.enter_context(Path(os.devnull).open("wb"))
        as_root = os.geteuid() == 0
        files = [code_file, filter_file, status_end, *([go_end, unread] if as_root else [])]
        arguments = [
            *("--seccomp", filter_file.fileno(), "--json-status-fd", status_end.fileno(), *NAMESPACES),
            *(_two_users(go_end, unread) if as_root else ONE_USER),
            *_mounts(),
            *("--perms", "1777", "--size", limits.disk_bytes, "--tmpfs", "/tmp", "--chdir", "/tmp"),
            *("--perms", "0444", "--file", code_file.fileno(), CODE, "--remount-ro", "/"),
            *("--", "/python/bin/python3", "-s", "-P", "-S", "-B", "-c", INSIDE),  # the standard library alone
            *(limits.memory_bytes, math.ceil(limits.seconds) + 1, limits.threads),
            *((USER, go_end.fileno()) if as_root else ()),
        ]
        command = [_bwrap(), *map(str, arguments)]
        process = stack.enter_context(child(command, pass_fds=[file.fileno() for file in files]))
        status_end.close()
        init = _init(process, status)
        stack.enter_context(_killed(init, process))
        if as_root:
            _map_users(init)
            go.write(b"!")
        deadline = began + limits.seconds
        watched = watch(process, stdin, limits, deadline=deadline, disk_full=lambda: _files(init) > limits.files)
        if not watched.reached and b"exit-code" not in status.read():
            raise MachineError(_refusal(watched.stderr))
        exit_code = process.returncode
    return outcome(watched, exit_code, began=began, backend="bubblewrap")


def _bwrap() -> str:
    found = shutil.which("bwrap")
    if found is None:
        raise MachineError("bubblewrap is not installed: sudo apt-get install bubblewrap")
    return found


@cache
def _filter() -> bytes:
    found = seccomp_filter()
    if found is None:
        raise MachineError(f"no filter of system calls is written for {os.uname().machine}: use backend 'wasm'")
    return found


def _two_users(go: IO[bytes], unread: IO[bytes]) -> list[str | int]:
    """Wait for the users at `go` (bwrap wants `--info-fd` with it), and keep what it takes to become another one."""
    kept = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return [*kept, "--userns-block-fd", go.fileno(), "--info-fd", unread.fileno()]


@cache
def _mounts() -> tuple[str, ...]:
    """What can be seen inside, read-only: the interpreter as /python, wherever it is here, the C libraries, two devices."""
    base = Path(sys.base_prefix)
    arguments = []
    for folder in ("/code", "/dev", "/python", "/python/bin", "/usr"):
        arguments += ["--perms", "0755", "--dir", folder]  # by itself bwrap makes some of them for root alone
    arguments += ["--ro-bind", str(Path(sys.executable).resolve()), "/python/bin/python3"]
    for name in sorted({"lib", sys.platlibdir}):
        arguments += ["--ro-bind", str(base / name), f"/python/{name}"]
        for packages in (base / name).glob("python3*/*-packages"):
            hidden = f"/python/{packages.relative_to(base)}"
            arguments += ["--perms", "0755", "--tmpfs", hidden, "--remount-ro", hidden]
    for path in map(Path, LIBRARIES):
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists():
            arguments += ["--ro-bind", str(path), str(path)]
    for device in DEVICES:
        arguments += ["--dev-bind", device, device]
    for name, value in ENVIRONMENT.items():
        arguments += ["--setenv", name, value]
    return tuple(arguments)


@contextlib.contextmanager
def _file_of(data: bytes) -> Iterator[IO[bytes]]:
    """A file in memory, to be read by another process."""
    with os.fdopen(os.memfd_create("ropewalk"), "r+b", buffering=0) as file:
        file.write(data)
        file.seek(0)
        yield file


def _init(process: Popen[bytes], status: IO[bytes]) -> int:
    """The first process inside, by its number out here. With it, everything inside dies.

    It holds the other end of `status` as long as it lives. If bwrap dies before it tells the number, neither that nor an end
    is ever read, and it waits inside for a word of bwrap's: so bwrap's own end is watched for, and their group is killed.

    Raises:
        MachineError: bwrap could not make the sandbox, or said nothing for START_SECONDS.
    """
    assert process.stderr is not None
    line = status.readline() if _told(process, status) else b""
    if not line:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # bwrap is not buried yet, so the number is still its own
        raise MachineError(_refusal(process.stderr.read()))
    return json.loads(line)["child-pid"]


def _told(process: Popen[bytes], status: IO[bytes]) -> bool:
    """Wait for something to read at `status`; False if the process ends without, or takes too long."""
    with selectors.DefaultSelector() as selector, end_of(process) as end:
        assert end is not None
        selector.register(end, selectors.EVENT_READ)
        selector.register(status, selectors.EVENT_READ)
        seen = selector.select(START_SECONDS)
        if not any(key.fileobj is status for key, _ in seen):
            seen = selector.select(0)  # it may have told it in its last moment
        return any(key.fileobj is status for key, _ in seen)


@contextlib.contextmanager
def _killed(init: int, process: Popen[bytes]) -> Iterator[None]:
    """Kill both at the end of the block: bwrap ties the first process inside to itself only some time after its start."""
    try:
        handle = os.pidfd_open(init)
    except ProcessLookupError:  # it has ended already
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)
        process.kill()
        process.wait()
        with contextlib.suppress(ChildProcessError):  # where we bury orphans (process 1 of a container), it is ours now
            os.waitpid(init, 0)


def _map_users(init: int) -> None:
    """Give a namespace that root made its two users."""
    for kind in ("uid", "gid"):
        try:
            Path(f"/proc/{init}/{kind}_map").write_text(f"0 0 1\n{USER} {USER} 1\n", encoding="ascii")
        except OSError as error:
            raise MachineError(f"root may not make user {USER} in a namespace here ({error}): use backend 'wasm'") from None


def _files(init: int) -> int:
    """How many files and folders /tmp inside has, 0 where it is not there yet.

    A file takes about a kilobyte of the kernel's memory, and tmpfs stops at a number that depends on the machine's.
    """
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        inside = os.open(f"/proc/{init}/root/tmp", os.O_PATH)  # one file for both questions: bwrap changes what lies there
        try:
            if os.fstat(inside).st_dev != Path("/tmp").stat().st_dev:
                system = os.fstatvfs(inside)
                return system.f_files - system.f_ffree
        finally:
            os.close(inside)
    return 0


def _refusal(stderr: bytes | bytearray) -> str:
    said = stderr.decode("utf-8", "replace").strip() or "it was killed"
    return f"bubblewrap cannot make a sandbox here ({said}): allow user namespaces, or use backend 'wasm'"
