"""Matrices that read the same activations as one, in a model that is only read: one product in the place of several."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ropewalk.model.transformer import Attention, FeedForward, Linear, Transformer


def join(model: Transformer, into: Callable[..., nn.Module]) -> None:
    """Let `into` make one layer of queries, keys and values, and one of gate and what it gates, in the place of each."""
    for layer in model.modules():
        if isinstance(layer, Attention):
            layer.joined = into(layer.q_proj, layer.k_proj, layer.v_proj)
            del layer.q_proj, layer.k_proj, layer.v_proj
        elif isinstance(layer, FeedForward) and layer.kind == "swiglu":
            layer.joined = into(layer.gate_proj, layer.up_proj)
            del layer.gate_proj, layer.up_proj


def one_linear(*layers: Linear) -> Linear:
    """Layers as one, whose outputs are theirs one after another."""
    joined = Linear(layers[0].in_features, sum(layer.out_features for layer in layers), bias=False, device="meta")
    joined.weight = nn.Parameter(torch.cat([layer.weight.detach() for layer in layers]), requires_grad=False)
    biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
    if biases:
        joined.bias = nn.Parameter(torch.cat(biases), requires_grad=False)
    return joined
