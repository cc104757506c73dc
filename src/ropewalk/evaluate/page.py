"""The templates of pages that stand alone, and the filters that all of them use."""

from __future__ import annotations

from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from ropewalk.runtime.progress import clock, size


def environment(*rooms: str) -> Environment:
    """Reads templates of this room, and before of `rooms`; all text is escaped, and a name that is not given is an error."""
    made = Environment(
        loader=ChoiceLoader([PackageLoader(room, "") for room in (*rooms, "ropewalk.evaluate")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        clock=clock, size=size, count=lambda number: f"{number:,}", words=lambda name: name.replace("_", " "),
        percent=lambda fraction: f"{100 * fraction:.1f}%",
    )  # fmt: skip
    return made


def run_and_name(path: Path) -> str:
    """What a page calls an artifact: its name behind its run's."""
    resolved = path.resolve()
    return f"{resolved.parent.name}/{resolved.name}"
