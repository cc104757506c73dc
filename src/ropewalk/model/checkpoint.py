"""A model as a Hugging Face folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ropewalk.model.config import ModelConfig
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import InputError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
GENERATION_CONFIG = "generation_config.json"


def save_model(model: Transformer, folder: Path, *, stop_ids: list[int], pad_id: int, start_id: int) -> None:
    """Write `config.json`, `model.safetensors` and `generation_config.json` into `folder`."""
    ids = {"bos_token_id": start_id, "eos_token_id": stop_ids, "pad_token_id": pad_id}
    _write_json(folder / CONFIG, {**model.config.to_hugging_face(), **ids})
    _write_json(folder / GENERATION_CONFIG, {"do_sample": True, "temperature": 0.7, "top_p": 0.95, **ids})
    weights = dict(model.state_dict())
    if model.config.tied_head:
        del weights["lm_head.weight"]
    save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / WEIGHTS, metadata={"format": "pt"})


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
    with torch.device("meta"):
        model = Transformer(config)
    if config.tied_head:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    found = {name: tuple(weight.shape) for name, weight in weights.items()}
    if expected != found:
        wrong = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        raise InputError(
            f"{weights_path} does not fit its config.json: {wrong[0]} is {found.get(wrong[0])}, not {expected.get(wrong[0])}"
        )
    model.load_state_dict({name: weight.float() for name, weight in weights.items()}, assign=True)
    if config.tied_head:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model.eval()


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
