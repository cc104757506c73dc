"""A model as a Hugging Face folder."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ropewalk.model.config import ModelConfig
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import InputError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
GENERATION_CONFIG = "generation_config.json"
HEAD = "lm_head.weight"
METADATA = {"format": "pt"}  # transformers asks for it


@dataclass(frozen=True)
class TextEnds:
    """Which ids begin a text, end one, and fill up rows; None where a model made elsewhere has none."""

    start_id: int | None
    stop_ids: list[int]
    pad_id: int | None


def save_model(model: Transformer, folder: Path, *, stop_ids: list[int], pad_id: int, start_id: int) -> None:
    """Write `config.json`, `model.safetensors` and `generation_config.json` into `folder`."""
    ends = TextEnds(start_id, stop_ids, pad_id)
    write_configs(folder, model.config, ends, generation={"do_sample": True, "temperature": 0.7, "top_p": 0.95})
    weights = dict(model.state_dict())
    if model.config.tied_head:
        del weights[HEAD]
    save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / WEIGHTS, metadata=METADATA)


def write_configs(folder: Path, config: ModelConfig, ends: TextEnds, *, generation: Mapping[str, object]) -> None:
    """Write `config.json`, and `generation_config.json` with the settings of sampling that `generation` gives."""
    ids = {"bos_token_id": ends.start_id, "eos_token_id": ends.stop_ids, "pad_token_id": ends.pad_id}
    _write_json(folder / CONFIG, {**config.to_hugging_face(), **ids})
    _write_json(folder / GENERATION_CONFIG, {**generation, **ids})


def weight_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The weights that a model's file holds, by name: a tied head is not among them."""
    with torch.device("meta"):
        model = Transformer(config)
    shapes = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    if config.tied_head:
        del shapes[HEAD]
    return shapes


def stream_weights(path: Path, shapes: Mapping[str, tuple[int, ...]], read: Callable[[str], Tensor]) -> None:
    """Write `model.safetensors` in float32, one weight in memory at a time; `read` gives each by its name.

    safetensors' own writer wants all of them at once. The format is a length, a table in JSON, and the bytes.
    """
    table: dict[str, object] = {"__metadata__": METADATA}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        table[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for name, shape in shapes.items():
            weight = read(name).float().contiguous()
            assert tuple(weight.shape) == shape, f"{name} is {tuple(weight.shape)}, not {shape}"
            file.write(weight.numpy().data)


def load_model(folder: Path) -> Transformer:
    """Read a model folder, weights as float32.

    Raises:
        InputError: no model there, an unknown architecture, or weights that do not fit the config.
    """
    config_path, weights_path = folder / CONFIG, folder / WEIGHTS
    for path in (config_path, weights_path):
        if not path.is_file():
            raise InputError(f"{folder} is not a model: there is no {path.name} in it. Give the path of a model folder")
    try:
        described = json.loads(config_path.read_text(encoding="utf-8"))
        weights = load_file(weights_path)
    except (ValueError, SafetensorError) as error:
        raise InputError(f"{folder} cannot be read ({error}): restore it, or make it again") from None
    config = ModelConfig.from_hugging_face(described, where=str(config_path))
    if config.tied_head:
        weights.pop(HEAD, None)  # some write it twice
    check_fit(
        weight_shapes(config), {name: tuple(weight.shape) for name, weight in weights.items()}, where=str(weights_path)
    )
    with torch.device("meta"):
        model = Transformer(config)
    if config.tied_head:
        weights[HEAD] = weights["model.embed_tokens.weight"]
    model.load_state_dict({name: weight.float() for name, weight in weights.items()}, assign=True)
    if config.tied_head:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model.eval()


def check_fit(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], *, where: str) -> None:
    """Compare the weights' names and shapes that a config asks for with those that are there.

    Raises:
        InputError: they differ; names the first.
    """
    wrong = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    if wrong:
        raise InputError(
            f"{where} does not fit its config.json: {wrong[0]} is {found.get(wrong[0])}, not {expected.get(wrong[0])}"
        )


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
