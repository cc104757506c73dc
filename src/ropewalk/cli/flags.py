"""A verb's flags, read from its options dataclass by tyro: names, types, defaults and docstrings become `--help`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from ropewalk.cli.verbs import Verb
from ropewalk.config import checked


def call(verb: Verb, arguments: Sequence[str]) -> int:
    """Parse `arguments` and do the verb's work. Returns the exit code: what the verb returns if that is a number."""
    options_class = verb.load_options()
    if not verb.stage:
        options = parse(options_class, verb, arguments)
        result = verb.load_run()(checked(options, where=f"ropewalk {verb.name}"))
        return result if isinstance(result, int) else 0
    flags = parse(with_out(options_class), verb, arguments)
    values = {field.name: getattr(flags, field.name) for field in dataclasses.fields(options_class)}
    verb.load_run()(options_class(**values), out=flags.out, force=flags.force)
    return 0


def with_out(options_class: type) -> type:
    """A stage's options together with the flags that every stage has."""
    from tyro.conf import FlagCreatePairsOff, arg

    out_help = "Folder to make: the artifact's path. It is built in a folder of that name with .part, then renamed."
    force_help = "Rebuild what stands there, or start over what another recipe left half-made."
    return dataclasses.make_dataclass(
        "Flags",
        [
            ("out", Annotated[Path, arg(help=out_help)]),
            ("force", Annotated[bool, FlagCreatePairsOff, arg(help=force_help)], False),
        ],
        bases=(options_class,),
        frozen=True,
        kw_only=True,
    )


def parse(flags_class: type, verb: Verb, arguments: Sequence[str]) -> Any:
    """Fill a dataclass from flags. Prints the help, or what is wrong with the flags, and exits where that is due."""
    import tyro

    return tyro.cli(
        flags_class,
        prog=f"ropewalk {verb.name}",
        description=description(verb),
        args=list(arguments),
        config=(tyro.conf.DisallowNone,),
    )


def description(verb: Verb) -> str:
    """The first paragraph of a verb's help."""
    return f"{verb.summary[0].upper()}{verb.summary[1:]}."
