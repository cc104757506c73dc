"""Read a model from a Hugging Face folder, to be imported."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ropewalk.model.checkpoint import CONFIG, GENERATION_CONFIG, WEIGHTS, TextEnds
from ropewalk.model.families import canonical, from_hugging_face
from ropewalk.model.foreign import Foreign
from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.encoding import copy_files

INDEX = "model.safetensors.index.json"
_LICENCE = re.compile(r"\A---\n(?:.*\n)*?license: *(\S+)")  # in the head of a model card


def open_folder(folder: Path) -> Foreign:
    """The model in a folder with `config.json`, `tokenizer.json` and its weights as safetensors, in one file or several.

    Raises:
        InputError: one of those is missing or cannot be read, or it is another architecture.
    """
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} has no {CONFIG}: give a folder with a model, or a GGUF file")
    described = _json(folder / CONFIG)
    config = from_hugging_face(described, where=str(folder / CONFIG))
    generation = _json(folder / GENERATION_CONFIG) if (folder / GENERATION_CONFIG).is_file() else {}
    ids = {key: generation.pop(key, None) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    ids = {key: described.get(key) if value is None else value for key, value in ids.items()}
    stop = ids["eos_token_id"]
    if stop is None:
        raise InputError(f'{folder} does not say which token ends a text: add "eos_token_id" to its {GENERATION_CONFIG}')
    weights = _Weights(folder)
    names = {known: name for name in weights.names if (known := canonical(config, name)) is not None}
    card = folder / "README.md"
    licence = _LICENCE.search(card.read_text(encoding="utf-8")) if card.is_file() else None
    return Foreign(
        config=config,
        ends=TextEnds(ids["bos_token_id"], stop if isinstance(stop, list) else [stop], ids["pad_token_id"]),
        shapes={known: weights.shape(name) for known, name in names.items()},
        read=lambda name: weights.read(names[name]),
        write_tokenizer=lambda target: copy_files(folder, target),
        generation=generation,
        about={
            "name": folder.resolve().name,
            "licence": licence[1] if licence else "not stated",
            "source": folder.resolve().name,
        },
    )


class _Weights:
    """The tensors of a folder, in one safetensors file or in several that an index lists."""

    def __init__(self, folder: Path) -> None:
        index = folder / INDEX
        files = sorted(set(_json(index)["weight_map"].values())) if index.is_file() else [WEIGHTS]
        self._files: dict[str, Any] = {}
        for name in files:
            path = folder / name
            if not path.is_file():
                raise InputError(f"{folder} has no {name}: give a folder with a whole model in safetensors, or a GGUF file")
            try:
                opened = safe_open(path, framework="pt")
            except SafetensorError as error:
                raise InputError(f"{path} cannot be read ({error}): download it again") from None
            self._files |= dict.fromkeys(opened.keys(), opened)

    @property
    def names(self) -> list[str]:
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._files[name].get_slice(name).get_shape())

    def read(self, name: str) -> Tensor:
        return self._files[name].get_tensor(name)


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} cannot be read ({error}): download it again") from None
