"""Untrusted code under limits: for tools in chat, for rewards on code, for the evaluation of code.

    outcome = run_code("print(input()[::-1])", stdin="abc", limits=Limits(seconds=2))
    outcome.stdout, outcome.ended       # "cba\\n", "finished"

bubblewrap where it works, else WebAssembly, else a MachineError; never a bare process. docs/sandbox.md says what is kept
out, and what is not.

run           choose a backend and run code in it
limits        what code may use, and what came of it
bubblewrap    namespaces, a root of nothing but Python, no privileges
seccomp       the system calls that code does not get
wasm          CPython in WebAssembly
wasm_child    the process that it runs in
child         feed a process, read it up to a limit, end it in time
inside        what runs first inside
"""

from ropewalk.sandbox.limits import Limits, Outcome
from ropewalk.sandbox.run import run_code

__all__ = ["Limits", "Outcome", "run_code"]
