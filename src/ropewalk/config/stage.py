"""Run a stage's `make` through the artifact contract, its options split into content, inputs and the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ropewalk.artifact import Artifact, Part, State, build, is_artifact, is_remote, look, open_artifact
from ropewalk.config.options import Input, NotContent, checked, plain
from ropewalk.runtime.errors import OptionError


@dataclass(frozen=True)
class Stage:
    """What a verb makes.

    version: raise it whenever the same options and inputs would give other bytes.
    libraries: distributions whose version decides content.
    libraries_with: (option, value, distribution): its version decides content if the option has that value.
    """

    verb: str
    kind: str
    version: int
    libraries: tuple[str, ...] = ()
    libraries_with: tuple[tuple[str, object, str], ...] = ()

    def deciding(self, options: object) -> tuple[str, ...]:
        """The distributions that decide content under these options."""
        return (*self.libraries, *(name for option, value, name in self.libraries_with if getattr(options, option) == value))


@dataclass(frozen=True)
class Estimate:
    """What a stage is expected to take, from rates measured on two cores, and what it hands on.

    amount: pages, documents or tokens for the next stage's estimate.
    """

    seconds: float
    disk_bytes: float
    amount: float = 0


def marked(options_class: type, mark: type) -> dict[str, Any]:
    """The option names annotated with a `mark`, each with the mark itself."""
    hints = get_type_hints(options_class, include_extras=True)
    found = {}
    for name, hint in hints.items():
        for extra in get_args(hint)[1:]:
            if isinstance(extra, mark) or extra is mark:
                found[name] = extra
    return found


def input_fields(options_class: type) -> dict[str, Input]:
    """The options that name inputs."""
    return marked(options_class, Input)


def given_inputs(options: object) -> dict[str, tuple[Input, Path | str]]:
    """The inputs that are given, each with its mark; those of an option that takes several are numbered, as in `also.1`."""
    found: dict[str, tuple[Input, Path | str]] = {}
    for name, mark in input_fields(type(options)).items():
        value = getattr(options, name)
        several = isinstance(value, tuple)
        for number, path in enumerate(value if several else (value,), start=1):
            if path is not None:
                found[f"{name}.{number}" if several else name] = mark, path if is_remote(path) else Path(path)
    return found


def build_stage(
    stage: Stage, options: object, *, out: Path, make: Callable[[Part], Mapping[str, Any]], force: bool = False
) -> Artifact:
    """Check the options and inputs, then build, skip or carry on as `ropewalk.artifact.build` says.

    Raises:
        OptionError, ArtifactError, InputError: before any work is done.
    """
    options = checked(options, where=f"ropewalk {stage.verb}")
    inputs = _inputs(stage, options, out)
    for mark, path in given_inputs(options).values():
        check_kind(path, mark)
    return build(
        Path(out),
        kind=stage.kind,
        stage_version=stage.version,
        options=_content(options),
        inputs=inputs,
        libraries=stage.deciding(options),
        make=make,
        force=force,
    )


def check_kind(path: Path | str, mark: Input) -> None:
    """Check that an artifact of a right kind stands where an option says.

    Raises:
        ArtifactError: none does.
    """
    if mark.kind is not None and not (mark.also and is_artifact(Path(path)) and mark.takes(open_artifact(path).kind)):
        open_artifact(path, mark.kind)


def look_at_stage(stage: Stage, options: object, *, out: Path, pending: frozenset[str] = frozenset()) -> State:
    """What `build_stage` would find, without making anything; inputs named in `pending` are still to be made.

    Raises:
        OptionError, ArtifactError, InputError: `build_stage` would refuse.
    """
    inputs = {name: path for name, path in _inputs(stage, options, out).items() if name not in pending}
    return look(
        Path(out),
        kind=stage.kind,
        stage_version=stage.version,
        options=_content(options),
        inputs=inputs,
        libraries=stage.deciding(options),
        pending=pending,
    )


def _inputs(stage: Stage, options: object, out: Path) -> dict[str, Path | str]:
    inputs = {name: path for name, (_, path) in given_inputs(options).items()}
    for name, path in inputs.items():
        if isinstance(path, Path) and Path(out).resolve().is_relative_to(path.resolve()):
            raise OptionError(f"ropewalk {stage.verb}: --out {out} lies in its own input {name}: give another --out")
    return inputs


def _content(options: object) -> dict[str, Any]:
    """The options that decide content: not the inputs, whose digests do, nor workers and the like."""
    left_out = {*input_fields(type(options)), *marked(type(options), NotContent)}
    return {name: value for name, value in plain(options).items() if name not in left_out}
