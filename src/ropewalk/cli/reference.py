"""Write docs/cli.md, every verb's help as it is printed: `python -m ropewalk.cli.reference > docs/cli.md`."""

from __future__ import annotations

import contextlib
import io
import os
import sys

from ropewalk.cli.flags import flags_class, parse
from ropewalk.cli.verbs import VERBS, Verb, overview

COLUMNS = 110


def reference() -> str:
    """The whole page."""
    head = "# The command line\n\nWritten by `make docs` from the verbs' options; a test fails when it drifts.\n"
    sections = [f"\n## ropewalk {verb.name}\n\n```text\n{help_text(verb)}\n```\n" for verb in VERBS.values()]
    return f"{head}\n```text\n{overview()}\n```\n{''.join(sections)}"


def help_text(verb: Verb) -> str:
    """What `ropewalk VERB --help` prints into a pipe, `COLUMNS` wide."""
    printed = io.StringIO()
    width_before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(COLUMNS)
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            parse(flags_class(verb), verb, ["--help"])
    finally:
        if width_before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = width_before
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


if __name__ == "__main__":
    sys.stdout.write(reference())
