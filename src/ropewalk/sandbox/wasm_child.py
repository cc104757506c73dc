"""A process of its own for WebAssembly, so that it can be killed: compiles CPython once, or runs it once.

Started as a script, with arguments `compile WASM OUT` or `run COMPILED FOLDER MEMORY_BYTES STATUS PARENT INSIDE`;
wasmtime is imported here alone. The code gets three pipes, FOLDER as /code, read-only, and nothing else: WASI has neither
sockets nor processes. STATUS is an open file to which one line is written once the code has ended.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

from wasmtime import Engine, ExitTrap, Func, Linker, Module, Store, Trap, WasiConfig, WasmtimeError

OPEN_FILES = 64
STOPPED_EXIT = 134  # as after abort()
PR_SET_PDEATHSIG = 1


def compile_module(wasm: str, out: str) -> None:
    """Translate the module to this processor's code and keep it."""
    Path(out).write_bytes(Module.from_file(Engine(), wasm).serialize())


def run(compiled: str, folder: str, memory_bytes: str, status: str, parent: str, inside: str) -> int:
    """Run /code/main.py; returns its exit code."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it was too late for that
        return STOPPED_EXIT
    for limit, amount in ((resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, OPEN_FILES)):
        resource.setrlimit(limit, (amount, amount))
    engine = Engine()
    linker = Linker(engine)
    linker.define_wasi()
    store = Store(engine)
    store.set_limits(memory_size=int(memory_bytes), instances=1, memories=1)
    store.set_wasi(_wasi(folder, inside))
    start = linker.instantiate(store, Module.deserialize_file(engine, compiled)).exports(store)["_start"]
    assert isinstance(start, Func)
    try:
        start(store)
        code = 0
    except ExitTrap as ended:
        code = ended.code
    except (Trap, WasmtimeError) as error:  # the stack is used up; exit codes above 125 do not exist
        print(str(error).strip().rpartition("\n")[2].strip(), file=sys.stderr)
        code = STOPPED_EXIT
    os.write(int(status), b"exit-code\n")
    return code


def _wasi(folder: str, inside: str) -> WasiConfig:
    wasi = WasiConfig()
    wasi.argv = ["python", "-s", "-P", "-S", "-B", "-c", inside]
    wasi.env = [("PYTHONHASHSEED", "0")]
    wasi.preopen_dir(folder, "/code", False)
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    return wasi


if __name__ == "__main__":
    if sys.argv[1] == "compile":
        compile_module(*sys.argv[2:])
    else:
        sys.exit(run(*sys.argv[2:]))
