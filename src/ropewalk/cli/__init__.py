"""The command line: one verb a stage, and verbs to look at what they made.

verbs       the table: which room a verb lives in, imported only when the verb is called
flags       a verb's flags, read from its typed options
faults      what the machine or the user can mend, as one sentence and an exit code
run         `ropewalk run`: a recipe's stages in order
show        `ropewalk show` and `ropewalk verify`
lineage     `ropewalk lineage`
init        `ropewalk init`
job         one of several processes that train together
completion  `ropewalk completion`
functions   a verb as a function, for `ropewalk.api`
reference   docs/cli.md: every help text
api_reference    docs/api.md: what a program may call

Exit codes: 0 done, 1 something to mend, 2 wrong usage, 3 refused by a gate, 75 handed over to a cluster and not done yet,
130 stopped by Ctrl-C, 143 stopped by SIGTERM. The results of a verb go to stdout, all else to stderr.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType

from ropewalk.cli.faults import Terminated, explained
from ropewalk.cli.flags import call
from ropewalk.cli.verbs import STAGE_VERBS, VERBS, joined, overview, unknown_verb
from ropewalk.runtime.threads import wait_politely


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    arguments = joined(list(sys.argv[1:] if arguments is None else arguments))
    signal.signal(signal.SIGTERM, terminate)
    wait_politely()
    makes_artifacts = bool(arguments) and (arguments[0] in STAGE_VERBS or arguments[0] == "run")
    with explained(resumable=makes_artifacts) as outcome:
        outcome.code = _dispatch(arguments)
        sys.stdout.flush()
    return outcome.code


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if arguments[0] == "--version":
        from ropewalk import __version__

        print(f"ropewalk {__version__}")
        return 0
    if arguments[0] not in VERBS:
        raise unknown_verb(arguments[0])
    return call(VERBS[arguments[0]], arguments[1:])


def terminate(signum: int, frame: FrameType | None) -> None:
    """What SIGTERM does: as Ctrl-C, with an exit code of its own."""
    raise Terminated
