"""The templates of pages that stand alone, and the filters that all of them use."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined

from ropewalk.runtime.progress import clock, size


def environment() -> Environment:
    """Reads templates of this room; all text is escaped, and a name that is not given is an error."""
    folder = files("ropewalk.evaluate")
    made = Environment(
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
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
