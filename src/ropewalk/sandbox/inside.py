"""The first thing that runs inside: lower the limits, give up the last privileges, become the code.

The backends give the text of this file to the interpreter inside, where nothing of ropewalk is. Arguments are none
(WebAssembly, where the host holds the limits) or memory_bytes, seconds, threads and, where we are root, the user to
become and a file that bwrap has left open. The code sees a module `__main__` with nothing of ours in it.
"""

import builtins
import sys

CODE = "/code/main.py"
MEMORY_EXIT = 97
RESERVE_BYTES = 1_000_000
OPEN_FILES = 64
PENDING_SIGNALS = 64  # POSIX timers count as such


def confine(memory_bytes: int, seconds: int, threads: int, user: int = -1, left_open: int = -1) -> None:
    """Set limits that this process cannot raise again, and become another user."""
    import posix
    import resource

    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_NPROC: threads,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_SIGPENDING: PENDING_SIGNALS,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_CORE: 1,  # 0 would still start the host's program for crashes (man 5 core); 1 never does
    }
    for limit, amount in limits.items():
        highest = resource.getrlimit(limit)[1]
        amount = amount if highest == resource.RLIM_INFINITY else min(amount, highest)
        resource.setrlimit(limit, (amount, amount))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))  # SIGXCPU, then SIGKILL
    if user >= 0:
        posix.close(left_open)
        posix.setgroups([])
        posix.setresgid(user, user, user)
        posix.setresuid(user, user, user)


def run() -> None:
    """Run the code as `python main.py` would. An uncaught MemoryError gives an exit code of its own."""
    builtins.exit = builtins.quit = sys.exit  # -S leaves them out
    with open(CODE, "rb") as file:  # noqa: PTH123  pathlib would take a third of the start
        source = file.read()
    main = type(sys)("__main__")
    main.__file__ = CODE
    sys.modules["__main__"] = main
    sys.argv = [CODE]
    reserve = bytearray(RESERVE_BYTES)  # to report with, when all else is used up
    try:
        exec(compile(source, CODE, "exec", dont_inherit=True), main.__dict__)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001  as the interpreter itself
        del reserve
        try:
            error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # without our own frame
            sys.excepthook(type(error), error, error.__traceback__)
        finally:  # also where there is no memory to report with
            raise SystemExit(MEMORY_EXIT if isinstance(error, MemoryError) else 1) from None


if __name__ == "__main__":
    if len(sys.argv) > 1:
        confine(*map(int, sys.argv[1:]))
    run()
