"""A model as a Hugging Face folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ropewalk.model.adapter_file import ADAPTER, read_adapter
from ropewalk.model.config import ModelConfig
from ropewalk.model.families import HEAD, Stored, canonical, from_hugging_face, layout, to_hugging_face
from ropewalk.model.lora import merged_weight
from ropewalk.model.stream import stream
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import InputError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
GENERATION_CONFIG = "generation_config.json"
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
    _write_weights(model, folder)


def save_like(model: Transformer, base: Path, names: Sequence[str], folder: Path) -> None:
    """Write the weights into `folder`, and all other files of `names` as they are in the model folder `base`."""
    copy_but((WEIGHTS,), base, names, folder)
    _write_weights(model, folder)


def copy_but(left_out: Collection[str], base: Path, names: Sequence[str], folder: Path) -> None:
    """Copy the files `names` of a model folder but those, and but its adapter: that fits only what it was trained on."""
    for name in names:
        if name not in left_out and not name.startswith(f"{ADAPTER}/"):
            shutil.copyfile(base / name, folder / name)


def _write_weights(model: Transformer, folder: Path) -> None:
    held, shapes = stored_tensors(model.config)
    stream_weights(folder / WEIGHTS, shapes, lambda name: held[name].join(partial(merged_weight, model)))


def write_configs(folder: Path, config: ModelConfig, ends: TextEnds, *, generation: Mapping[str, object]) -> None:
    """Write `config.json`, and `generation_config.json` with the settings of sampling that `generation` gives."""
    ids = {"bos_token_id": ends.start_id, "eos_token_id": ends.stop_ids, "pad_token_id": ends.pad_id}
    _write_json(folder / CONFIG, {**to_hugging_face(config), **ids})
    _write_json(folder / GENERATION_CONFIG, {**generation, **ids})


def stored_tensors(config: ModelConfig) -> tuple[dict[str, Stored], dict[str, tuple[int, ...]]]:
    """What a model's file holds, by name: our weights in each tensor, and its shape. A tied head is not among them."""
    with torch.device("meta"):
        weights = dict(Transformer(config).state_dict())
    held = layout(config, list(weights))
    return held, {name: tuple(stored.join(weights.__getitem__).shape) for name, stored in held.items()}


def stream_weights(path: Path, shapes: Mapping[str, tuple[int, ...]], read: Callable[[str], Tensor]) -> None:
    """Write `model.safetensors` in float32, one weight in memory at a time; `read` gives each by its name."""
    stream(path, shapes, read, metadata=METADATA)


def load_model(folder: Path, *, adapter: Path | None = None) -> Transformer:
    """Read a model folder, weights as float32; with a PEFT folder's adapter merged into them, if one is given.

    Raises:
        InputError: no model there, an unknown architecture, weights that do not fit the config, or an adapter that does not
            fit the model.
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
    config = from_hugging_face(described, where=str(config_path))
    if adapter is not None:
        change = read_adapter(adapter, config, *stored_tensors(config))
        weights = {name: change.onto(canonical(config, name) or name, weight) for name, weight in weights.items()}
    return assemble(config, weights, where=str(weights_path))


def assemble(config: ModelConfig, weights: Mapping[str, Tensor], *, where: str) -> Transformer:
    """A model of that shape with the weights of a file, by their names there.

    Raises:
        InputError: they do not fit.
    """
    held, shapes = stored_tensors(config)
    found = {known: weight for name, weight in weights.items() if (known := canonical(config, name)) is not None}
    check_fit(shapes, {name: tuple(weight.shape) for name, weight in found.items()}, where=where)
    with torch.device("meta"):
        model = Transformer(config)
    ours = {name: part.float() for stored, tensor in found.items() for name, part in held[stored].split(tensor).items()}
    if config.tied_head:
        ours[HEAD] = ours["model.embed_tokens.weight"]
    model.load_state_dict(ours, assign=True)
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
