"""Choose a backend and run code in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal

from ropewalk.runtime.errors import MachineError
from ropewalk.runtime.progress import say
from ropewalk.sandbox import bubblewrap, wasm
from ropewalk.sandbox.child import fill_streams
from ropewalk.sandbox.limits import Backend, Limits, Outcome

Run = Callable[..., Outcome]
BACKENDS: dict[Backend, Run] = {"bubblewrap": bubblewrap.run, "wasm": wasm.run}
DEFAULT = Limits()
PATIENT = Limits(seconds=60)  # a busy machine is no reason to take another backend


def run_code(
    code: str,
    *,
    stdin: str = "",
    limits: Limits = DEFAULT,
    backend: Literal["auto", "bubblewrap", "wasm"] = "auto",
) -> Outcome:
    """Run untrusted Python code on the standard library, with nothing of this machine in its reach.

    Text that is not UTF-8 when written (a lone surrogate, from a model) is given as it is: Python then refuses the code.
    "auto" is bubblewrap where it works, else WebAssembly; never a bare process.

    Raises:
        MachineError: the backend is missing, or cannot work here.
    """
    fill_streams()
    chosen = choose() if backend == "auto" else backend
    return BACKENDS[chosen](_bytes(code), stdin=_bytes(stdin), limits=limits)


@cache
def choose() -> Backend:
    """The backend of "auto", found by trying, once in a process."""
    refusals = []
    for name, run in BACKENDS.items():
        try:
            tried = run(b"print(6 * 7)", stdin=b"", limits=PATIENT)
        except MachineError as error:
            refusals.append(str(error))
            continue
        if tried.stdout == "42\n":
            if refusals:
                say(f"untrusted code runs in {name}, which is slower: {'; '.join(refusals)}")
            return name
        refusals.append(f"{name} does not run Python here ({tried.ended}: {tried.stderr.strip()[-200:]})")
    raise MachineError(f"no sandbox works here: {'; or '.join(refusals)}")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
