"""Matrix products in float8, at twice bfloat16's rate on GPUs that have it (Micikevicius et al. 2022).

Every operand is scaled, as a whole, so that its largest value is the format's largest. Activations and weights keep three
bits of mantissa (e4m3), gradients two and a wider range (e5m2).

Shapes: N tokens, R outputs, C inputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MULTIPLE = 16  # of both sides, which the GPU's kernels ask for
LEAST_SIDE = 128  # below it, scaling costs more than the product saves


def fits_float8(weight_RC: Tensor) -> bool:
    """Whether a matrix is multiplied in float8 at all."""
    return all(side % MULTIPLE == 0 and side >= LEAST_SIDE for side in weight_RC.shape)


def float8_linear(x: Tensor, weight_RC: Tensor) -> Tensor:
    """`x @ weight.T` for x (..., C), in x's dtype; the weight's gradient is of the weight's."""
    product_NR = _Float8Linear.apply(x.flatten(0, -2), weight_RC)
    return product_NR.unflatten(0, x.shape[:-1])  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]


class _Float8Linear(torch.autograd.Function):
    """All three products in float8: forward, and both gradients."""

    @staticmethod
    def forward(ctx: Any, x_NC: Tensor, weight_RC: Tensor) -> Tensor:
        x8_NC, x_scale = _quantize(x_NC, torch.float8_e4m3fn)
        weight8_RC, weight_scale = _quantize(weight_RC, torch.float8_e4m3fn)
        ctx.save_for_backward(x8_NC, x_scale, weight8_RC, weight_scale)
        return _multiply(x8_NC, x_scale, weight8_RC.t(), weight_scale, x_NC.dtype, fast=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor]:
        (d_NR,) = gradients
        x8_NC, x_scale, weight8_RC, weight_scale = ctx.saved_tensors
        d8_NR, d_scale = _quantize(d_NR, torch.float8_e5m2)
        d_x_NC = _multiply(d8_NR, d_scale, _by_columns(weight8_RC), weight_scale, d_NR.dtype)
        d_weight_RC = _multiply(d8_NR.t().contiguous(), d_scale, _by_columns(x8_NC), x_scale, torch.float32)
        return d_x_NC, d_weight_RC


def _quantize(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The values divided by a scale that brings the largest to the format's largest, and that scale, float32 ()."""
    most = torch.finfo(dtype).max
    scale = x.abs().amax().float().clamp(min=1e-12) / most
    return (x.float() / scale).clamp(-most, most).to(dtype), scale


def _by_columns(matrix: Tensor) -> Tensor:
    """The same matrix, column after column in memory, as a product's second factor has to lie."""
    return matrix.t().contiguous().t()


def _multiply(
    left: Tensor, left_scale: Tensor, right: Tensor, right_scale: Tensor, dtype: torch.dtype, *, fast: bool = False
) -> Tensor:
    """left @ right, of the scaled values. fast: add up in less than float32."""
    return torch._scaled_mm(left, right, scale_a=left_scale, scale_b=right_scale, out_dtype=dtype, use_fast_accum=fast)  # pyright: ignore[reportPrivateImportUsage]
