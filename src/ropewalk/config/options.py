"""Check options against their types: what a recipe or a caller gives becomes a frozen dataclass, or one clear sentence.

pydantic does the checking. It is imported late: `--help` must not wait for it.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from ropewalk.runtime.errors import OptionError

Options = TypeVar("Options")


@dataclasses.dataclass(frozen=True)
class Input:
    """Marks an option as the path of an input: `corpus: Annotated[Path, Input("corpus")]`.

    Of type `str | Path` it may also be an address such as s3://bucket/folder.

    kind: the artifact kind it must have; None where a user's own folder or file will do as well.
    also: another kind that will do.
    """

    kind: str | None = None
    also: str | None = None

    def takes(self, kind: str) -> bool:
        """Whether an artifact of this kind will do."""
        return self.kind is None or kind in (self.kind, self.also)


class NotContent:
    """Marks an option that must not change the bytes made: it stays out of the recipe's hash."""


class Leading:
    """Marks an option that the command line takes without its flag as well, in the options' order: `ropewalk report RUN`."""


def options_from(kind: type[Options], values: Mapping[str, Any], *, where: str) -> Options:
    """Fill the dataclass `kind` from plain values (a TOML table, say).

    Raises:
        OptionError: an unknown key, a missing one, a wrong type or a value out of range; `where` begins the sentence.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    known = [field.name for field in dataclasses.fields(kind)]  # pyright: ignore[reportArgumentType]
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise OptionError(f"{where}: unknown option {key!r}; {hint}")
    if not hasattr(kind, "__pydantic_config__"):
        kind.__pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        text = json.dumps(values, default=str)
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise OptionError(f"{where}: option {name!r} is missing, add it") from None
        if not name and first["type"] == "value_error":  # a rule over several options, from __post_init__
            raise OptionError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
        message = first["msg"][0].lower() + first["msg"][1:]
        raise OptionError(f"{where}: option {name!r} is {first['input']!r}: {message}") from None


def checked(options: Options, *, where: str) -> Options:
    """Check a dataclass that a caller filled: types and ranges, as a recipe's."""
    return options_from(type(options), plain(options), where=where)


def plain(options: object) -> dict[str, Any]:
    """A dataclass as JSON values: paths as text, tuples as lists."""
    values = dataclasses.asdict(options)  # pyright: ignore[reportArgumentType]
    return json.loads(json.dumps(values, default=lambda value: str(value) if isinstance(value, Path) else _refuse(value)))


def _refuse(value: object) -> str:
    raise AssertionError(f"an option of type {type(value).__name__} has no JSON form")
