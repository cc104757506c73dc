"""The pages that are not plain files: HTML templates in which all that is filled in is text, never HTML."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template


@cache
def template(name: str) -> Template:
    """The template `page/NAME.html.jinja`."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = files("ropewalk.serve").joinpath("page", f"{name}.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(source)
