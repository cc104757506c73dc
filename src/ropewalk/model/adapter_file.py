"""An adapter as a folder of PEFT's: `adapter_config.json` and `adapter_model.safetensors`.

Tensors are named after the modules of transformers' models, so a file's own name for a weight leads to its adapter:
`base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`. Which base it belongs to is said nowhere in the folder: a
path would be another on every machine.

Shapes: R outputs, C inputs, Q rank.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ropewalk.model.config import ModelConfig
from ropewalk.model.families import Stored, canonical
from ropewalk.model.lora import LoraShape, adapters, low_rank, scale_of
from ropewalk.model.stream import stream
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import InputError

ADAPTER = "adapter"  # the folder, inside a model's
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_A, _B, _WEIGHT = ".lora_A.weight", ".lora_B.weight", ".weight"
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")  # others change the base's weights as well
_OTHER_MATHEMATICS = (
    "use_dora", "use_qalora", "lora_bias", "use_bdlora", "alora_invocation_tokens", "layer_replication", "arrow_config",
    "kasa_config", "monteclora_config", "trainable_token_indices", "target_parameters",
)  # fmt: skip


def save_adapter(model: Transformer, held: Mapping[str, Stored], folder: Path, *, score_1D: Tensor | None = None) -> None:
    """Write a model's adapters. `held` says which of its weights each tensor of its file holds.

    Where a file keeps several of our matrices in one tensor (GPT-2's queries, keys and values), it has one adapter, of so
    many times the rank: their A's one below the other, their B's along a diagonal.

    score_1D: the head of a reward model, which is trained as a whole.
    """
    layers = adapters(model)
    shape = next(iter(layers.values())).shape
    tensors: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for stored, ours in held.items():
        parts = [layers[name.removesuffix(_WEIGHT)] for name in ours.names if name.removesuffix(_WEIGHT) in layers]
        if parts:
            module = stored.removesuffix(_WEIGHT)
            counts[".".join(module.split(".")[-2:])] = len(parts)
            tensors[_PREFIX + module + _A] = torch.cat([part.lora_A.weight.detach() for part in parts])
            tensors[_PREFIX + module + _B] = torch.block_diag(*(part.lora_B.weight.detach() for part in parts))
    described = {**_describe(shape, counts), "fan_in_fan_out": any(ours.transposed for ours in held.values())}
    if score_1D is not None:
        tensors[_PREFIX + "score.weight"] = score_1D.detach()
        described |= {"task_type": "SEQ_CLS", "modules_to_save": ["score"]}
    folder.mkdir(exist_ok=True)
    (folder / ADAPTER_CONFIG).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    shapes = {name: tuple(tensor.shape) for name, tensor in sorted(tensors.items())}
    stream(folder / ADAPTER_WEIGHTS, shapes, tensors.__getitem__, metadata={"format": "pt"})


def _describe(shape: LoraShape, counts: Mapping[str, int]) -> dict[str, Any]:
    """The `adapter_config.json` of adapters on these modules, of which each holds so many of our matrices."""
    ranks = {module: count * shape.rank for module, count in counts.items() if count > 1}
    whole = {module: scale_of(rank, 1.0, rank_stabilised=shape.rank_stabilised) for module, rank in ranks.items()}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": shape.rank,
        "lora_alpha": shape.alpha,
        "use_rslora": shape.rank_stabilised,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(counts),
        "rank_pattern": ranks,
        "alpha_pattern": {module: shape.scale / scale for module, scale in whole.items()},
    }


@dataclass(frozen=True)
class Adapter:
    """What an adapter does to the tensors of a model's file, by their names there.

    factors: two matrices and a number, whose product is added. replaced: tensors that take the place of the base's.
    """

    factors: Mapping[str, tuple[Tensor, Tensor, float]]
    replaced: Mapping[str, Tensor]

    def onto(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor of the base as the adapter has it."""
        if name in self.replaced:
            return self.replaced[name]
        return tensor.float() + low_rank(*self.factors[name]) if name in self.factors else tensor


def read_adapter(
    folder: Path, config: ModelConfig, held: Mapping[str, Stored], shapes: Mapping[str, tuple[int, ...]]
) -> Adapter:
    """Read a LoRA adapter of PEFT's for a model of this shape, whose file holds these tensors of these shapes.

    Raises:
        InputError: it is none, of a kind that ropewalk does not have, or belongs to another model.
    """
    described, tensors = _read(folder)
    factors: dict[str, tuple[Tensor, Tensor, float]] = {}
    for module in sorted({key.removesuffix(_A).removesuffix(_B) for key in tensors if key.endswith((_A, _B))}):
        b_RQ, a_QC = tensors.get(module + _B), tensors.get(module + _A)
        if b_RQ is None or a_QC is None or (b_RQ.ndim, a_QC.ndim) != (2, 2) or b_RQ.shape[1] != len(a_QC):
            raise InputError(
                f"{folder} is damaged: {module} lacks one of its two matrices, or they do not fit: get it again"
            )
        name, scale = _name(config, module + _WEIGHT), _scale(described, module, rank=len(a_QC), where=folder)
        on_its_side = name in held and held[name].transposed
        factors[name] = (a_QC.T, b_RQ.T, scale) if on_its_side else (b_RQ, a_QC, scale)
    others = {key: tensor for key, tensor in tensors.items() if not key.endswith((_A, _B))}
    replaced = {_name(config, key): tensor for key, tensor in others.items()}
    found = {name: (left.shape[0], right.shape[1]) for name, (left, right, _) in factors.items()}
    found |= {name: tuple(tensor.shape) for name, tensor in replaced.items()}
    if wrong := next((name for name in found if shapes.get(name) != found[name]), None):
        raise InputError(
            f"{folder} does not fit the model: {wrong} is {found[wrong]} there, not {shapes.get(wrong)}; "
            "give the model that it was trained on"
        )
    return Adapter(factors, replaced)


def _name(config: ModelConfig, key: str) -> str:
    """What a model's file calls a tensor that an adapter names."""
    name = key.removeprefix(_PREFIX).replace(".base_layer.", ".")  # so PEFT calls what it wraps: a bias, say
    return canonical(config, name) or name


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        described = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / ADAPTER_WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(
            f"{folder} is no adapter that can be read ({error}): give a folder with {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}"
        ) from None
    if described.get("peft_type") != "LORA":
        raise InputError(f"{folder} is an adapter of type {described.get('peft_type')!r}; this ropewalk reads 'LORA'")
    for key in _OTHER_MATHEMATICS:
        if described.get(key):
            raise InputError(
                f"{folder} asks for {key}, which this ropewalk does not have: merge it with PEFT, and import that"
            )
    if (start := described.get("init_lora_weights", True)) not in _PLAIN_STARTS:
        raise InputError(
            f"{folder} began by {start!r}, which changes the base's weights too: merge it with PEFT, and import that"
        )
    return described, tensors


def _scale(described: Mapping[str, Any], module: str, *, rank: int, where: Path) -> float:
    """What a module's product is multiplied by; patterns name modules by the ends of their names, as PEFT reads them."""
    patterns = described.get("alpha_pattern") or {}
    try:
        named = (alpha for pattern, alpha in patterns.items() if re.match(rf"(.*\.)?({pattern})$", module))
        alpha = next(named, described["lora_alpha"])
    except (re.error, KeyError) as error:
        raise InputError(f"{where / ADAPTER_CONFIG} does not tell the alpha of {module} ({error}): get it again") from None
    return scale_of(rank, alpha, rank_stabilised=bool(described.get("use_rslora")))
