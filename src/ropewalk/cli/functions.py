"""A verb as a function, with its options as keywords: what `ropewalk.api` is made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from ropewalk.artifact import Artifact
from ropewalk.cli.flags import description
from ropewalk.cli.verbs import VERBS, Verb
from ropewalk.config import checked
from ropewalk.runtime.threads import wait_politely

P = ParamSpec("P")
OUT = inspect.Parameter("out", inspect.Parameter.POSITIONAL_ONLY, annotation="Path | str")


def stage_function(verb_name: str, options_class: Callable[P, object]) -> Callable[Concatenate[Path | str, P], Artifact]:
    """The verb as a function of the folder to write and of its options. It returns the artifact."""
    verb = VERBS[verb_name]

    def make(out: Path | str, /, *args: P.args, **options: P.kwargs) -> Artifact:
        wait_politely()
        return verb.load_run()(checked(options_class(*args, **options), where=f"ropewalk {verb_name}"), out=Path(out))

    _describe(make, verb, options_class, first=[OUT], returns="Artifact")
    return make


def verb_function(verb_name: str, options_class: Callable[P, object]) -> Callable[P, int]:
    """The verb as a function of its options. It prints, and returns the exit code."""
    verb = VERBS[verb_name]

    def do(*args: P.args, **options: P.kwargs) -> int:
        wait_politely()
        return verb.load_run()(checked(options_class(*args, **options), where=f"ropewalk {verb_name}")) or 0

    _describe(do, verb, options_class, first=[], returns="int")
    return do


def function_name(verb_name: str) -> str:
    """What a verb's function is called: `import` is a word of Python's own."""
    return {"import": "import_"}.get(verb_name, verb_name.replace(" ", "_"))


def _describe(
    function: Any, verb: Verb, options_class: Callable[..., object], *, first: list[inspect.Parameter], returns: str
) -> None:
    """Give the function the name, the words and the signature that `help` and notebooks show."""
    options = inspect.signature(options_class).parameters.values()
    function.__name__ = function.__qualname__ = function_name(verb.name)
    function.__module__ = "ropewalk.api"
    explained = (
        f"`ropewalk {verb.name} --help` and {options_class.__module__}.{options_class.__qualname__} explain the options."
    )
    function.__doc__ = f"{description(verb)}\n\n{explained}\n"
    function.__signature__ = inspect.Signature([*first, *options], return_annotation=returns)
