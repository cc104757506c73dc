"""Matrices in eight bits: a quarter of float32's bytes to read.

A matrix has a scale for each output. Few tokens are multiplied by loops that read its bytes as numbers (`thin`), and many by
a product of bytes where the CPU has a fast one (VNNI), else by float32's. In the product of bytes an activation has a scale
for each token and is two of them: the rounded value and, 254 times finer, what rounding left. So the error is that of the
weights alone: activations in a single byte cost SmolLM2 ten times the divergence (0.044 nats a token; LOG.md).

Shapes: N tokens, R outputs, C inputs.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from ropewalk.model.joining import join
from ropewalk.model.thin import is_thin, thin_linear
from ropewalk.model.transformer import Linear, Transformer
from ropewalk.runtime.errors import MachineError

MOST = 127
FINER = 254  # what rounding leaves is at most half a step
LEAST_SIDE = 32  # a smaller matrix, such as a gate's, stays as it is


class Int8Linear(nn.Module):
    """A matrix in eight bits, in the place of one or several layers that read the same."""

    weight_RC: Tensor
    scale_R: Tensor

    def __init__(self, *layers: Linear) -> None:
        super().__init__()
        weight_RC = torch.cat([layer.weight.detach() for layer in layers])
        weight8_RC, scale_R1 = quantized(weight_RC)
        self.register_buffer("weight_RC", weight8_RC)
        self.register_buffer("scale_R", scale_R1[:, 0])
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        assert len(biases) in (0, len(layers)), "a part has a bias, another none"
        self.bias = torch.cat(biases) if biases else None

    def forward(self, x: Tensor) -> Tensor:
        if is_thin(x):
            return thin_linear(x, self.weight_RC, self.scale_R, self.bias)
        if not has_byte_products():
            return functional.linear(x, self.weight_RC * self.scale_R[:, None], self.bias)
        product_NR = int8_linear(x.flatten(0, -2), self.weight_RC, self.scale_R)
        product_NR = product_NR if self.bias is None else product_NR + self.bias
        return product_NR.unflatten(0, x.shape[:-1])


def quantized(values_NC: Tensor) -> tuple[Tensor, Tensor]:
    """Each row as bytes, and the scale that these are to be multiplied with, (N, 1)."""
    scale_N1 = values_NC.abs().amax(dim=1, keepdim=True).div_(MOST).clamp_(min=1e-30)
    return (values_NC / scale_N1).round_().to(torch.int8), scale_N1


def int8_linear(x_NC: Tensor, weight_RC: Tensor, scale_R: Tensor) -> Tensor:
    """`x @ (weight * scale).T`, float32, of activations in two bytes."""
    scale_N1 = x_NC.abs().amax(dim=1, keepdim=True).div_(MOST).clamp_(min=1e-30)
    exact_NC = x_NC / scale_N1
    coarse_NC = exact_NC.round()
    fine_NC = exact_NC.sub_(coarse_NC).mul_(FINER).round_()
    both_NC = torch.cat((coarse_NC, fine_NC)).to(torch.int8)
    product = torch._int_mm(both_NC, weight_RC.t())  # pyright: ignore[reportPrivateImportUsage]
    coarse_NR, fine_NR = product.chunk(2)
    return fine_NR.div(FINER).add_(coarse_NR).mul_(scale_N1).mul_(scale_R)


def plain_int8_linear(x_NC: Tensor, weight_RC: Tensor, scale_R: Tensor) -> Tensor:
    """What `int8_linear` is but for rounding: the twin that says what it should be."""
    scale_N1 = x_NC.double().abs().amax(dim=1, keepdim=True) / MOST
    rounded_NC = (x_NC / scale_N1 * FINER).round() / FINER * scale_N1
    return (rounded_NC @ (weight_RC.double() * scale_R[:, None]).t()).float()


def to_int8(model: Transformer) -> Transformer:
    """Put a model's matrices into eight bits; embeddings, norms and gates stay. It can only be read from then on.

    Raises:
        MachineError: this torch has no such product, or a wrong one.
    """
    if has_byte_products():
        check_product()
    join(model, Int8Linear)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, Linear) and min(layer.weight.shape) >= LEAST_SIDE:
            model.set_submodule(name, Int8Linear(layer))
    return model


@cache
def has_byte_products() -> bool:
    """Whether this CPU multiplies bytes fast (VNNI): where not, torch's product takes 40 times as long as float32's."""
    return bool(getattr(torch.cpu, "_is_vnni_supported", lambda: False)())


@cache
def check_product() -> None:
    """torch._int_mm is no public interface: let it multiply what its twin does, once.

    Raises:
        MachineError: it is not there, or gives something else.
    """
    generator = torch.Generator().manual_seed(0)
    x_NC, weight_RC = (torch.randn(rows, 192, generator=generator) for rows in (3, 160))
    weight8_RC, scale_R1 = quantized(weight_RC)
    try:
        off = (
            (int8_linear(x_NC, weight8_RC, scale_R1[:, 0]) - plain_int8_linear(x_NC, weight8_RC, scale_R1[:, 0])).abs().max()
        )
    except (AttributeError, NotImplementedError, RuntimeError) as error:
        raise MachineError(f"torch cannot multiply bytes here ({error}): take another --precision") from None
    if not off < 1e-2:
        raise MachineError(f"torch multiplies bytes wrongly here, {off:.2g} off: take another --precision")
