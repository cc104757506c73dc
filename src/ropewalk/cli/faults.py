"""Turn what the user or the machine can mend into one sentence and an exit code. Our own bugs keep their traceback."""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ropewalk.runtime.errors import RopewalkError
from ropewalk.runtime.progress import say

STOPPED = "Stopped."
NOTHING_LOST = " Nothing is lost: the same command carries on."
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS)


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where Ctrl-C would be, so that stages clean up after both in the same way."""


@dataclass
class Outcome:
    """The exit code that a block came to."""

    code: int = 0


@contextmanager
def explained(*, resumable: bool) -> Iterator[Outcome]:
    """Run the block; print the sentence of an expected failure and set the code instead of letting it through.

    resumable: the block makes artifacts, so that the same command carries on after Ctrl-C; then that is said too.
    """
    outcome = Outcome()
    try:
        yield outcome
    except RopewalkError as error:
        say(str(error))
        outcome.code = error.exit_code
    except KeyboardInterrupt as interrupt:
        say(f"\n{STOPPED}{NOTHING_LOST if resumable else ''}")
        outcome.code = 143 if isinstance(interrupt, Terminated) else 130
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        outcome.code = 141
    except Exception as error:
        sentence = machine_sentence(error)
        if sentence is None:
            raise
        say(sentence)
        outcome.code = 1


def machine_sentence(error: BaseException) -> str | None:
    """One sentence for a full disk, a missing permission or a limit of the system; None for anything else.

    Libraries wrap the system's errors in their own (safetensors, polars), so the chain of causes and the text count.
    """
    for cause in _chain(error):
        number = cause.errno if isinstance(cause, OSError) else None
        text = str(cause)
        name = getattr(cause, "filename", None)
        path = os.fsdecode(name) if isinstance(name, str | bytes) else ""
        if number in FULL_DISK or "No space left on device" in text or "File too large" in text:
            where = f" while writing {path}" if path else ""
            limit = "the disk is full, or a quota or size limit is reached"
            return f"{limit}{where}: free some space; the same command then carries on"
        if number in NO_ACCESS:
            what = f"no permission for {path or 'a file'} ({os.strerror(number)})"
            return f"{what}: change its permissions, or choose another folder"
        if number in (errno.EMFILE, errno.ENFILE):
            return "too many files are open: raise the limit with 'ulimit -n 4096' and run the same command again"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _reader_is_gone() -> bool:
    """Whether stdout or stderr leads into a closed pipe (`ropewalk show X | head`); then silence it for the exit."""
    gone = False
    for stream in (sys.stdout, sys.stderr):
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
            gone = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return gone
