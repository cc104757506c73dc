"""A verb's flags, read from its options dataclass by tyro: names, types, defaults and docstrings become `--help`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

from ropewalk.cli.verbs import Verb
from ropewalk.config import Leading, checked, marked
from ropewalk.runtime.errors import OptionError

WORDS = "paths"  # the field of what stands on the command line without a flag


def call(verb: Verb, arguments: Sequence[str]) -> int:
    """Parse `arguments` and do the verb's work. Returns the exit code: what the verb returns if that is a number."""
    flags = parse(flags_class(verb), verb, arguments)
    if not verb.stage:
        result = verb.load_run()(checked(flags, where=f"ropewalk {verb.name}"))
        return result if isinstance(result, int) else 0
    options = _options(verb, flags)
    out = verb.load_place()(options) if flags.out is None else flags.out
    verb.load_run()(options, out=out, force=flags.force)
    if flags.out is None:
        print(out)
    return 0


def flags_class(verb: Verb) -> type:
    """A verb's options, for a stage together with the flags that every stage has."""
    options_class = verb.load_options()
    if not verb.stage:
        return options_class
    from tyro.conf import FlagCreatePairsOff, arg

    out_help = "Folder to make: the artifact's path. It is built in a folder of that name with .part, then renamed."
    out = ("out", Annotated[Path, arg(help=out_help)])
    if verb.place:
        out_help += " Without it, it lies in the folder of its run."
        out = ("out", Annotated[Path | None, arg(help=out_help)], None)
    force_help = "Rebuild what stands there, or start over what another recipe left half-made."
    force = ("force", Annotated[bool, FlagCreatePairsOff, arg(help=force_help)], False)
    fields = [out, force, *_words(options_class)]
    return dataclasses.make_dataclass("Flags", fields, bases=(options_class,), frozen=True, kw_only=True)


def _words(options_class: type) -> Iterator[tuple[str, Any, Any]]:
    """The words before or behind the flags, and the options that they stand for, none of which is required then."""
    from tyro.conf import Positional, arg

    leading = marked(options_class, Leading)
    if not leading:
        return
    for name in leading:
        yield name, get_type_hints(options_class, include_extras=True)[name] | None, None
    words_help = f"The same as {' and '.join(map(_flag, leading))}, without the flags."
    yield WORDS, Positional[Annotated[tuple[Path, ...], arg(metavar="PATH ...", help=words_help)]], ()


def _options(verb: Verb, flags: Any) -> Any:
    """A stage's options; words without a flag fill those that take them, in order."""
    options_class = verb.load_options()
    values = {field.name: getattr(flags, field.name) for field in dataclasses.fields(options_class)}
    free = [name for name in marked(options_class, Leading) if values[name] is None]
    words = getattr(flags, WORDS, ())
    if len(words) > len(free):
        raise OptionError(
            f"ropewalk {verb.name}: {words[len(free)]} is one too many: 'ropewalk {verb.name} --help' tells more"
        )
    values |= zip(free, words, strict=False)
    for field in dataclasses.fields(options_class):
        if values[field.name] is None and field.default is dataclasses.MISSING:
            raise OptionError(f"ropewalk {verb.name}: give {_flag(field.name)}, or its path alone")
    return options_class(**values)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def parse(flags_class: type, verb: Verb, arguments: Sequence[str]) -> Any:
    """Fill a dataclass from flags. Prints the help, or what is wrong with the flags, and exits where that is due."""
    import tyro

    _name_keywords(flags_class)
    return tyro.cli(
        flags_class,
        prog=f"ropewalk {verb.name}",
        description=description(verb),
        args=list(arguments),
        config=(tyro.conf.DisallowNone,),
    )


def _name_keywords(flags_class: type) -> None:
    """A field that would be a word of Python's own ends in an underscore (`from_`); its flag does not."""
    from tyro.conf import arg

    hints = get_type_hints(flags_class, include_extras=True)
    for field in dataclasses.fields(flags_class):
        if field.name.endswith("_") and get_origin(hints[field.name]) is not Annotated:
            flags_class.__annotations__[field.name] = Annotated[hints[field.name], arg(name=field.name.rstrip("_"))]


def description(verb: Verb) -> str:
    """The first paragraph of a verb's help."""
    return f"{verb.summary[0].upper()}{verb.summary[1:]}."
