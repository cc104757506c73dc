"""What a machine needs so that its judgement is the same as any other's."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ropewalk import __version__
from ropewalk.artifact import is_remote
from ropewalk.config import input_fields
from ropewalk.corpus import STAGE, CorpusOptions
from ropewalk.corpus.contamination import Evaluation
from ropewalk.runtime.errors import MachineError


def versions(options: CorpusOptions) -> dict[str, str]:
    """What decides the bytes, by name: Python, ropewalk and the libraries of the stage."""
    found = {"Python": "{}.{}".format(*sys.version_info), "ropewalk": __version__, "ropewalk's stage": str(STAGE.version)}
    for name in STAGE.deciding(options):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "(none)"
    return found


def check_machine(options: CorpusOptions, evaluation: Evaluation | None, wanted: Mapping[str, str]) -> None:
    """Refuse to judge on a machine that might judge otherwise. wanted: the `versions` where the work was begun.

    Raises:
        MachineError: a library has another version, or a file that `options` names is missing.
    """
    for name, here in versions(options).items():
        if here != wanted[name]:
            raise MachineError(
                f"{socket.gethostname()} has {name} {here}, and this corpus was begun with {wanted[name]}: "
                "install the same versions on all machines, with pip install -c constraints.txt"
            )
    given = [getattr(options, name) for name in input_fields(CorpusOptions)]
    given += [evaluation.runs] if evaluation else []
    for path in given:
        if path is not None and not is_remote(path) and not Path(path).exists():
            raise MachineError(
                f"{socket.gethostname()} does not have {path}: put it where all machines have it under that path, "
                "or give an address such as s3://bucket/folder"
            )
