"""Read JSON lines with errors that name the file and the line: labels, conversations, questions come in this form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ropewalk.runtime.errors import InputError


def read_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line's object, and its place ("FILE, line 3") to begin a sentence with. Empty lines are passed over.

    Raises:
        InputError: no such file, or a line that is not UTF-8, not JSON, or not an object.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file: give a JSONL file")
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            where = f"{path}, line {number}"
            if not raw.strip():
                continue
            try:
                value = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError:
                raise InputError(f"{where} is not UTF-8: save the file as UTF-8") from None
            except (ValueError, RecursionError):
                raise InputError(f"{where} is not JSON: write one object a line") from None
            if not isinstance(value, dict):
                raise InputError(f"{where} is not a JSON object: write one object a line")
            yield where, value
