"""A child process under watch: fed, read up to a limit, ended in time, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from ropewalk.sandbox.inside import MEMORY_EXIT
from ropewalk.sandbox.limits import Backend, Ended, Limits, Outcome

INSIDE = Path(__file__).with_name("inside.py").read_text(encoding="utf-8")
LOOK_SECONDS = 0.05
PIECE_BYTES = 65_536


@dataclass
class Watched:
    """What a process said, and the limit at which it must end."""

    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    reached: Literal["time", "output", "disk"] | None = None


@contextlib.contextmanager
def child(command: Sequence[str], *, pass_fds: Sequence[int] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process with an empty environment and pipes for its streams; behind the block it is dead and reaped.

    Ctrl-C does not reach it: that is ours to answer.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, env={}, cwd="/",
        pass_fds=pass_fds, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            stream.close()
        process.wait()


def fill_streams() -> None:
    """Open what is closed of our own streams, on nothing, so that no file of ours gets the number of a child's stream."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)


@contextlib.contextmanager
def pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Where to read and where to write, both closed behind the block."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as ours, os.fdopen(writer, "wb", buffering=0) as theirs:
        yield ours, theirs


def watch(
    process: subprocess.Popen[bytes],
    stdin: bytes,
    limits: Limits,
    *,
    deadline: float,
    disk_full: Callable[[], bool] = lambda: False,
) -> Watched:
    """Stay with a process until it has ended or reached a limit. It may close its streams and live on, or never read.

    Args:
        deadline: by the monotonic clock.
        disk_full: asked 20 times a second at least.
    """
    assert process.stdin and process.stdout and process.stderr
    watched = Watched()
    heard = {process.stdout.fileno(): watched.stdout, process.stderr.fileno(): watched.stderr}
    said, left = process.stdin.fileno(), memoryview(stdin)
    os.set_blocking(said, False)
    with selectors.DefaultSelector() as selector, end_of(process) as end:
        selector.register(said, selectors.EVENT_WRITE)
        if end is not None:
            selector.register(end, selectors.EVENT_READ)
        for stream in heard:
            selector.register(stream, selectors.EVENT_READ)
        while heard or process.poll() is None:
            seconds = min(deadline - time.monotonic(), LOOK_SECONDS)
            watched.reached = "time" if seconds <= 0 else "disk" if disk_full() else None
            if watched.reached:
                return watched
            for stream in (key.fd for key, _ in selector.select(seconds)):
                if stream == end:
                    selector.unregister(stream)
                    continue
                if stream == said:
                    left = _feed(said, left)
                    if not left:
                        selector.unregister(said)
                        process.stdin.close()
                    continue
                room_bytes = limits.output_bytes - len(watched.stdout) - len(watched.stderr)
                piece = os.read(stream, min(PIECE_BYTES, room_bytes + 1))
                heard[stream].extend(piece[:room_bytes])
                if len(piece) > room_bytes:
                    watched.reached = "output"
                    return watched
                if not piece:
                    selector.unregister(stream)
                    del heard[stream]
    return watched


@contextlib.contextmanager
def end_of(process: subprocess.Popen[bytes]) -> Iterator[int | None]:
    """A file that can be read once the process has ended, where the system has such: else it is looked at now and then."""
    if sys.platform != "linux":
        yield None
        return
    end = os.pidfd_open(process.pid)
    try:
        yield end
    finally:
        os.close(end)


def _feed(stream: int, left: memoryview) -> memoryview:
    """Write what fits; returns what is left, nothing if nobody reads any more."""
    try:
        return left[os.write(stream, left[:PIECE_BYTES]) :]
    except BlockingIOError:
        return left
    except BrokenPipeError:
        return left[:0]


def outcome(watched: Watched, exit_code: int, *, began: float, backend: Backend) -> Outcome:
    """What came of it; `exit_code` is -N after signal N, as Python has it."""
    code = None if watched.reached else exit_code if exit_code >= 0 else 128 - exit_code
    by_code: dict[int | None, Ended] = {0: "finished", MEMORY_EXIT: "memory", 128 + signal.SIGXCPU: "time"}
    return Outcome(
        stdout=watched.stdout.decode("utf-8", "replace"),
        stderr=watched.stderr.decode("utf-8", "replace"),
        exit_code=code,
        ended=watched.reached or by_code.get(code, "failed"),
        seconds=time.monotonic() - began,
        backend=backend,
    )
