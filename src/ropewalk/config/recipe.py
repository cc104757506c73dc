"""Read a recipe: a TOML file whose sections are artifacts, in the order in which they are made.

into = "runs/docs"            # every artifact lies here, under its section's name

[pages]                       # makes runs/docs/pages
stage = "crawl"               # the verb that makes it; all other keys are that verb's options
sites = ["http://127.0.0.1:8470/"]

[corpus]
stage = "corpus"
pages = "pages"               # an input: an artifact made above, a file in one ("site/labels.jsonl"), a path or an address
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropewalk.config.options import options_from
from ropewalk.config.stage import given_inputs, input_fields
from ropewalk.runtime.errors import InputError, OptionError


@dataclass(frozen=True)
class Step:
    """One artifact of a recipe: its name and path, the verb that makes it, its checked options, the steps it reads."""

    name: str
    verb: str
    options: Any
    out: Path
    reads: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """A whole recipe, its steps in order."""

    path: Path
    into: Path
    steps: tuple[Step, ...]


def load_recipe(
    path: Path, *, options_classes: Mapping[str, type], overrides: tuple[str, ...] = (), into: Path | None = None
) -> Recipe:
    """Read and check a recipe.

    Args:
        options_classes: the options of every verb that a recipe may name.
        overrides: `NAME.KEY=VALUE` with a TOML value, stronger than the file.
        into: another folder than the recipe's for its artifacts.

    Raises:
        InputError: no such file, or not TOML. OptionError: a wrong stage, key, type, value or reference.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"there is no recipe {path}: check the path, or write one with 'ropewalk init FOLDER_OR_URL'"
        ) from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder: give a recipe, or write one for it with 'ropewalk init {path}'") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    for override in overrides:
        _override(table, override)
    into_text = table.pop("into", None)
    into = into or (Path(into_text) if isinstance(into_text, str) else None)
    if into is None:
        raise OptionError(f'{path}: say where its artifacts go, with a first line like into = "runs/{path.stem}"')
    steps: list[Step] = []
    for name, section in table.items():
        steps.append(_step(path, name, section, into, {step.name: step for step in steps}, options_classes))
    if not steps:
        raise OptionError(f'{path}: has no stages, add a section like [pages] with stage = "crawl"')
    return Recipe(path, into, tuple(steps))


def _step(
    path: Path, name: str, section: object, into: Path, earlier: Mapping[str, Step], options_classes: Mapping[str, type]
) -> Step:
    where = f"{path} [{name}]"
    if not isinstance(section, dict):
        raise OptionError(f"{path}: unknown key {name!r} outside a section; known is 'into'")
    if not re.fullmatch(r"\w[\w-]*", name):
        raise OptionError(f"{where}: the name becomes a folder's, use letters, digits, - and _ only")
    values = dict(section)
    verb = values.pop("stage", None)
    if not isinstance(verb, str) or verb not in options_classes:
        said = "has no stage" if verb is None else f"stage {verb!r} is unknown"
        raise OptionError(f"{where}: {said}; stages are {', '.join(options_classes)}")
    options_class = options_classes[verb]
    reads = []
    for field in input_fields(options_class):
        value, of_field = values.get(field), f"{where}: {field}"
        if isinstance(value, list):
            values[field] = [_found(one, earlier, reads, where=of_field) for one in value]
        elif value is not None:
            values[field] = _found(value, earlier, reads, where=of_field)
    options = options_from(options_class, values, where=where)
    for field, (_, source) in given_inputs(options).items():
        if (into / name).resolve().is_relative_to(Path(source).resolve()):
            raise OptionError(
                f"{where}: would be made at {into / name}, inside its own input {field} = {str(source)!r}: "
                "give another into, or another --into"
            )
    return Step(name, verb, options, into / name, tuple(reads))


def _found(reference: object, earlier: Mapping[str, Step], reads: list[str], *, where: str) -> object:
    """Where a reference leads; what is made above is noted in `reads`. What is no text is left to the check of its type."""
    if not isinstance(reference, str):
        return reference
    named, _, file = reference.partition("/")
    if named in earlier:
        reads.append(named)
        return str(earlier[named].out / file)
    if not (_has_scheme(reference) or Path(reference).exists()):
        made = ", ".join(earlier) or "none"
        raise OptionError(f"{where} = {reference!r} is neither a path nor made above (made above: {made})")
    return reference


def _has_scheme(reference: str) -> bool:
    """Whether it is an address, or names something that only its stage can find, as package:NAME."""
    return re.match(r"[a-z][a-z0-9+.-]+:", reference) is not None


def _override(table: dict[str, Any], override: str) -> None:
    target, equals, value = override.partition("=")
    name, dot, key = target.strip().partition(".")
    if not (equals and dot and key):
        raise OptionError(f"--set {override}: write it as NAME.KEY=VALUE, for example tokenizer.vocabulary=4096")
    if not isinstance(table.get(name), dict):
        sections = [section for section, content in table.items() if isinstance(content, dict)]
        raise OptionError(f"--set {override}: the recipe has no section {name!r}; it has {', '.join(sections)}")
    try:
        table[name][key] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        table[name][key] = value.strip()
