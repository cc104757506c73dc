"""Read a model from a Hugging Face folder, to be imported."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ropewalk.model.checkpoint import CONFIG, GENERATION_CONFIG, WEIGHTS, TextEnds
from ropewalk.model.families import canonical, from_hugging_face
from ropewalk.model.foreign import Foreign
from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.encoding import copy_files

_LICENCE = re.compile(r"\A---\n(?:.*\n)*?license: *(\S+)")  # in the head of a model card


def open_folder(folder: Path) -> Foreign:
    """The model in a folder with `config.json`, one `model.safetensors` and `tokenizer.json`.

    Raises:
        InputError: one of those is missing or cannot be read, or it is another architecture.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(f"{folder} has no {name}: give a folder with a model in one file, or a GGUF file")
    described = _json(folder / CONFIG)
    config = from_hugging_face(described, where=str(folder / CONFIG))
    generation = _json(folder / GENERATION_CONFIG) if (folder / GENERATION_CONFIG).is_file() else {}
    ids = {key: generation.pop(key, None) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    ids = {key: described.get(key) if value is None else value for key, value in ids.items()}
    stop = ids["eos_token_id"]
    if stop is None:
        raise InputError(f'{folder} does not say which token ends a text: add "eos_token_id" to its {GENERATION_CONFIG}')
    try:
        weights = safe_open(folder / WEIGHTS, framework="pt")
    except SafetensorError as error:
        raise InputError(f"{folder / WEIGHTS} cannot be read ({error}): download it again") from None
    names = {known: name for name in weights.keys() if (known := canonical(config, name)) is not None}  # noqa: SIM118
    card = folder / "README.md"
    licence = _LICENCE.search(card.read_text(encoding="utf-8")) if card.is_file() else None
    return Foreign(
        config=config,
        ends=TextEnds(ids["bos_token_id"], stop if isinstance(stop, list) else [stop], ids["pad_token_id"]),
        shapes={known: tuple(weights.get_slice(name).get_shape()) for known, name in names.items()},
        read=lambda name: weights.get_tensor(names[name]),
        write_tokenizer=lambda target: copy_files(folder, target),
        generation=generation,
        about={
            "name": folder.resolve().name,
            "licence": licence[1] if licence else "not stated",
            "source": folder.resolve().name,
        },
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} cannot be read ({error}): download it again") from None
