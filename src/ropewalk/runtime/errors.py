"""What can go wrong, as one tree. Every message is a sentence that says what to do next.

    RopewalkError
    ├── OptionError      an option, a recipe or an argument is wrong
    ├── ArtifactError    an artifact is missing, damaged, of the wrong kind, or made by another recipe
    ├── InputError       what the user brought cannot be read: pages, conversations, a checkpoint
    ├── MachineError     the machine lacks something: disk, permission, a library, a free port
    ├── GateError        a new model is not taken over in place of the one before
    └── UnfinishedError  others are at work on it: nothing is wrong, and nothing is there yet

The command line prints the sentence without a traceback and exits with 1 (2 for an `OptionError`). Broken invariants of
our own are `AssertionError`s and keep their traceback. `GateError` exits with 3: all worked, and the answer is no.
`UnfinishedError` exits with 75, sysexits.h's "try again later".
"""


class RopewalkError(Exception):
    """A mistake or a lack that the user can mend. `str(error)` is the whole message."""

    exit_code = 1


class OptionError(RopewalkError, ValueError):
    """An option, a recipe or an argument is wrong."""

    exit_code = 2


class ArtifactError(RopewalkError):
    """An artifact is missing, damaged, of the wrong kind, or made by another recipe."""


class InputError(RopewalkError, ValueError):
    """What the user brought cannot be read."""


class MachineError(RopewalkError, OSError):
    """The machine lacks something: disk, permission, a library, a free port."""


class GateError(RopewalkError):
    """A new model is not taken over in place of the one before."""

    exit_code = 3


class UnfinishedError(RopewalkError):
    """Others are at work on it: nothing is wrong, and nothing is there yet."""

    exit_code = 75
