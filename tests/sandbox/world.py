"""What is planted around a sandbox, to be reached by nobody inside: a file, a variable, a process, sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

SECRET = "escaped"


@dataclass(frozen=True)
class World:
    """The names that attempts use."""

    FILE: str
    FOLDER: str
    LINK: str
    VICTIM: int
    HOST: str
    PARENT: int
    PORT: int
    PLANTED: str

    def about(self, code: str) -> str:
        """The code with the names above it."""
        return "".join(f"{name} = {value!r}\n" for name, value in asdict(self).items()) + code


def run_bare(code: str) -> str:
    """Run code with no sandbox at all, as our own process' child. Only for what does no harm."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, close_fds=False, stdin=subprocess.DEVNULL
    )
    return done.stdout + done.stderr


@contextlib.contextmanager
def planted(folder: Path) -> Iterator[World]:
    """Plant it all, and clear up."""
    name = f"planted-{uuid.uuid4().hex}"
    file = folder / "planted"
    file.write_text(SECRET, encoding="utf-8")
    link = Path("/tmp", f"{name}-link")
    with contextlib.ExitStack() as stack:
        for address in (("127.0.0.1", 0), "\0" + name, str(folder / "socket")):
            server = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
            stack.enter_context(server)
            server.bind(address)
            server.listen()
            threading.Thread(target=_greet, args=(server,), daemon=True).start()
            if isinstance(address, tuple):
                port = server.getsockname()[1]
        given = stack.enter_context(file.open("rb"))
        os.set_inheritable(given.fileno(), True)
        victim = subprocess.Popen(["planted", "60"], executable="/bin/sleep", cwd=folder, stdin=given)
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        stack.callback(link.unlink, missing_ok=True)
        yield World(str(file), str(folder), str(link), victim.pid, os.uname().nodename, os.getpid(), port, name)


def _greet(server: socket.socket) -> None:
    """Tell everybody the secret, until the server is closed."""
    with contextlib.suppress(OSError):
        while True:
            server.accept()[0].sendall(SECRET.encode())
