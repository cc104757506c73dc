"""Read labelled texts: JSONL or Parquet with a `text` and a `label`, 1 for what is wanted and 0 for what is not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropewalk.corpus.duplicates import text_hash
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.lines import read_objects


@dataclass(frozen=True)
class Label:
    """A text and whether it is wanted. key: the hash of the normalised text."""

    text: str
    wanted: bool
    key: str


def read_labels(path: Path) -> list[Label]:
    """Every labelled text once, the first of equal ones, in the order of `key` and not of the file.

    Raises:
        InputError: a line is no labelled text, or contradicts an earlier one; names file and line.
    """
    labels: dict[str, Label] = {}
    places: dict[str, str] = {}
    for where, row in read_objects(path, columns=("text", "label")):
        label = _label(where, row)
        place = places.setdefault(label.key, where)
        if labels.setdefault(label.key, label).wanted != label.wanted:
            raise InputError(f"{where} has the text of {place} with the other label: keep one of them")
    return [labels[key] for key in sorted(labels)]


def _label(where: str, row: dict[str, Any]) -> Label:
    form = 'write {"text": "...", "label": 1} or 0'
    if "text" not in row or "label" not in row:
        raise InputError(f"{where} has no text or no label: {form}")
    text, label = row["text"], row["label"]
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{where} has no text in its text: {form}")
    if isinstance(label, bool) or not isinstance(label, int) or label not in (0, 1):
        raise InputError(f"{where} has the label {json.dumps(label, default=str)}: {form}")
    return Label(text, label == 1, text_hash(text))
