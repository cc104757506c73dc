"""Products of a few tokens with a matrix in float32 or int8, its rows read once where they lie: on a CPU (see `loops`).

Shapes: N tokens, R outputs, C inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ropewalk.model import loops

# Beside more, MKL's own order of a matrix pays: sooner with AVX512, of which it makes more than these loops do.
MOST_TOKENS = 64 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 128


def is_thin(x: Tensor) -> bool:
    """Whether `thin_linear` is for these activations: few, in float32, on a CPU, and nothing to learn."""
    few = x.numel() <= MOST_TOKENS * x.shape[-1]
    return few and x.dtype == torch.float32 and x.is_cpu and not torch.is_grad_enabled()


def thin_linear(x: Tensor, weight_RC: Tensor, scale_R: Tensor | None = None, bias_R: Tensor | None = None) -> Tensor:
    """`x @ (weight * scale).T + bias`, float32, of any leading shape."""
    x_NC = x.reshape(-1, x.shape[-1]).contiguous()
    product_NR = x.new_empty(len(x_NC), len(weight_RC))
    loops.use_threads()
    loops.multiply(*matrix(weight_RC, scale_R, bias_R), x_NC.numpy(), product_NR.numpy(), 0)
    return product_NR.view(*x.shape[:-1], len(weight_RC))


def matrix(weight_RC: Tensor, scale_R: Tensor | None, bias_R: Tensor | None) -> loops.Matrix:
    """A matrix as loops take it."""
    scale_R = torch.ones(len(weight_RC)) if scale_R is None else scale_R
    bias_R = torch.zeros(len(weight_RC)) if bias_R is None else bias_R.detach()
    return weight_RC.detach().numpy(), scale_R.numpy(), bias_R.numpy()
