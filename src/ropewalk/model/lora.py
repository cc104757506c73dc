"""Low-rank adapters: beside a frozen matrix W two thin ones learn, A and B, and the layer gives W x + s B A x.

B starts at zero: an adapted model begins as the model that it was. Gradients and optimizer state are the thin ones' alone
(Hu et al. 2021, LoRA).

Shapes: R outputs, C inputs, Q rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ropewalk.model.transformer import Linear, Transformer

Targets = Literal["all", "attention", "feed_forward"]
_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")
_LAYERS: dict[Targets, tuple[str, ...]] = {
    "all": (*_ATTENTION, *_FEED_FORWARD),
    "attention": _ATTENTION,
    "feed_forward": _FEED_FORWARD,
}


@dataclass(frozen=True)
class LoraShape:
    """Which layers inside blocks have adapters, of which rank, and how much these count."""

    rank: int
    alpha: float
    rank_stabilised: bool
    targets: Targets

    @property
    def scale(self) -> float:
        """What B A is multiplied by, s above."""
        return scale_of(self.rank, self.alpha, rank_stabilised=self.rank_stabilised)


def scale_of(rank: int, alpha: float, *, rank_stabilised: bool) -> float:
    """alpha / rank, or alpha / sqrt(rank), under which large ranks learn as fast as small ones (Kalajdzievski 2023)."""
    return alpha / (rank**0.5 if rank_stabilised else rank)


def low_rank(b_RQ: Tensor, a_QC: Tensor, scale: float) -> Tensor:
    """What an adapter adds to its matrix (R, C), float32."""
    return scale * (b_RQ.float() @ a_QC.float())


class AdaptedLinear(Linear):
    """A layer with an adapter. Its own weight is that of the layer it takes the place of, not a copy."""

    adapted = True

    def __init__(self, layer: Linear, shape: LoraShape, generator: torch.Generator) -> None:
        C, R, device = layer.in_features, layer.out_features, layer.weight.device
        super().__init__(C, R, bias=False, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.shape, self.enabled = shape, True
        self.lora_A = Linear(C, shape.rank, bias=False, device=device)
        self.lora_B = Linear(shape.rank, R, bias=False, device=device)
        with torch.no_grad():
            self.lora_A.weight.copy_(torch.empty(shape.rank, C).uniform_(-(C**-0.5), C**-0.5, generator=generator))
            self.lora_B.weight.zero_()

    def forward(self, x: Tensor) -> Tensor:
        product = super().forward(x)
        return product + self.lora_B(self.shape.scale * self.lora_A(x)) if self.enabled else product


def adapt(model: Transformer, shape: LoraShape, *, seed: int) -> Transformer:
    """Freeze a model's weights and put adapters beside the layers that `shape` names. Returns the model."""
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, Linear) and name.rpartition(".")[2] in _LAYERS[shape.targets]:
            model.set_submodule(name, AdaptedLinear(layer, shape, generator))
    return model


def adapters(model: Transformer) -> dict[str, AdaptedLinear]:
    """The layers that have adapters, by name."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, AdaptedLinear)}


def merged_weight(model: Transformer, name: str) -> Tensor:
    """A weight of a model by its name, with what its adapter adds, if it has one. The model stays as it is."""
    weight, layer = model.get_parameter(name).detach(), model.get_submodule(name.rpartition(".")[0])
    if not isinstance(layer, AdaptedLinear) or not name.endswith(".weight"):
        return weight
    return weight + low_rank(layer.lora_B.weight.detach(), layer.lora_A.weight.detach(), layer.shape.scale)


def share(model: Transformer, base: Transformer) -> None:
    """Let a model hold the tensors of another one of its shape wherever the two are equal, in place of its own."""
    for name, layer in model.named_modules():
        twin = base.get_submodule(name)
        for key, tensor in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
            other = getattr(twin, key)
            if torch.equal(tensor, other):
                setattr(layer, key, other)


@contextmanager
def adapters_off(model: Transformer) -> Iterator[None]:
    """For a while, a model as it was before it was adapted; one without adapters stays as it is."""
    layers = adapters(model).values()
    for layer in layers:
        layer.enabled = False
    try:
        yield
    finally:
        for layer in layers:
            layer.enabled = True
