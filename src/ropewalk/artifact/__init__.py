"""The contract between rooms: a directory whose `manifest.json` is written last.

A stage builds in `NAME.part/` and renames it to `NAME/` when all is there, so an artifact either stands whole or not at
all. Its manifest says how it was made (`recipe`), what it is (`digest`), from what (`inputs`), and holds the facts
people ask for. See `manifest.py` for the fields and `build.py` for the rules of skip, refuse and resume.
"""

from ropewalk.artifact.build import Part, State, build, look
from ropewalk.artifact.inputs import InputFile, is_remote, list_remote
from ropewalk.artifact.manifest import (
    REMOTE,
    Artifact,
    Damage,
    is_artifact,
    open_artifact,
    open_input,
    source_digest,
    verify,
)

__all__ = [
    "REMOTE",
    "Artifact",
    "Damage",
    "InputFile",
    "Part",
    "State",
    "build",
    "is_artifact",
    "is_remote",
    "list_remote",
    "look",
    "open_artifact",
    "open_input",
    "source_digest",
    "verify",
]
