"""Matrix products in float8, at twice bfloat16's rate on GPUs that have it (Micikevicius et al. 2022).

Every operand is scaled, as a whole, so that its largest value is the format's largest. Activations and weights keep three
bits of mantissa (e4m3), gradients two and a wider range (e5m2).

To read a matrix twice, once for its largest value and once to round it, can cost what the product saves. So the passes of a
step share what they can: weights are rounded once, and the scales that the first pass measured serve the others.

Shapes: N tokens, R outputs, C inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ropewalk.model.fused import fused

MULTIPLE = 16  # of both sides, which the GPU's kernels ask for
LEAST_SIDE = 128  # below it, scaling costs more than the product saves
ROOM = 4.0  # a later pass may hold values so many times as large; a format with exponents has them to spare


def _nothing() -> Tensor:
    return torch.empty(0)


@dataclass(eq=False)
class InFloat8:
    """What the products of a step share of a matrix, or of several on top of each other.

    Outside a step nothing is held: weights are rounded, and scales measured, at each product.

    weight_RC, columns_RC: the matrix in float8, row after row and column after column. scale: what it was divided by.
    x_scale, d_scale: of what comes in and of the product's gradient. In the first pass they are leaves that require a
        gradient, which is how a compiled backward pass gives out what it measured: their `grad` is the scale to keep.
        Each is a tensor of its own, because Inductor takes no view of a larger one for a scale.
    """

    held: bool = False
    weight_RC: Tensor = field(default_factory=_nothing)
    columns_RC: Tensor = field(default_factory=_nothing)
    scale: Tensor = field(default_factory=_nothing)
    x_scale: Tensor = field(default_factory=_nothing)
    d_scale: Tensor = field(default_factory=_nothing)

    def hold(self, weights: Sequence[Tensor], *, compiled: bool) -> None:
        """Round the weights for a step."""
        both_ways = fused(round_both_ways) if compiled else round_both_ways
        self.weight_RC, self.columns_RC, self.scale = both_ways([weight.detach() for weight in weights])
        device = self.weight_RC.device
        self.x_scale, self.d_scale = (torch.empty((), device=device, requires_grad=True) for _ in range(2))
        self.held = True

    def keep_scales(self) -> None:
        """After a pass: let what it measured, if it did, serve the others."""
        if self.x_scale.grad is not None and self.d_scale.grad is not None:
            self.x_scale, self.d_scale = self.x_scale.grad, self.d_scale.grad


Matrices = Sequence[tuple[InFloat8, Sequence[Tensor]]]
"""What is multiplied by in float8, each with the weights that it consists of."""


@contextmanager
def held(matrices: Matrices, *, compiled: bool) -> Iterator[None]:
    """For the passes of one step, whose weights stay as they are, hold what they share. compiled: round in fused loops."""
    for matrix, weights in matrices:
        matrix.hold(weights, compiled=compiled)
    try:
        yield
    finally:
        for matrix, _ in matrices:
            matrix.held = False


def fits_float8(weight_RC: Tensor) -> bool:
    """Whether a matrix is multiplied in float8 at all."""
    return all(side % MULTIPLE == 0 and side >= LEAST_SIDE for side in weight_RC.shape)


def float8_linear(x: Tensor, matrix: InFloat8, *weights: Tensor) -> Tensor:
    """`x @ weight.T` for x (..., C), in x's dtype, of the weights on top of each other, whose gradients are theirs."""
    x_NC = x.flatten(0, -2)
    if matrix.held:
        ready = matrix.weight_RC, matrix.columns_RC, matrix.scale
        kept = not matrix.x_scale.requires_grad
        product_NR = _Float8Linear.apply(x_NC, *ready, matrix.x_scale, matrix.d_scale, kept, *weights)
    else:
        ready = round_both_ways([weight.detach() for weight in weights])
        product_NR = _Float8Linear.apply(x_NC, *ready, None, None, False, *weights)
    return product_NR.unflatten(0, x.shape[:-1])  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]


def round_both_ways(weights: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The weights on top of each other in float8, row after row and column after column, and what they were divided by."""
    weight_RC = weights[0] if len(weights) == 1 else torch.cat(list(weights))
    scale = _scale(weight_RC, torch.float8_e4m3fn)
    weight8_RC = _round(weight_RC, scale, torch.float8_e4m3fn)
    return weight8_RC, _by_columns(weight8_RC), scale


class _Float8Linear(torch.autograd.Function):
    """All three products in float8: forward, and both gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        x_NC: Tensor,
        weight8_RC: Tensor,
        columns8_RC: Tensor,
        weight_scale: Tensor,
        x_scale: Tensor | None,
        d_scale: Tensor | None,
        kept: bool,
        *weights: Tensor,
    ) -> Tensor:
        """kept: the scales are given; else they are measured, and handed out as gradients of those given, if any."""
        ctx.asked, ctx.kept, ctx.rows = d_scale is not None, kept, [len(weight) for weight in weights]
        if x_scale is None or not kept:
            x_scale = _scale(x_NC, torch.float8_e4m3fn)
        x8_NC = _round(x_NC, x_scale, torch.float8_e4m3fn)
        ctx.save_for_backward(x8_NC, x_scale, columns8_RC, weight_scale, *([d_scale] if kept else []))
        return _multiply(x8_NC, x_scale, weight8_RC.t(), weight_scale, x_NC.dtype, fast=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        (d_NR,) = gradients
        x8_NC, x_scale, columns8_RC, weight_scale, *scales = ctx.saved_tensors
        d_scale = scales[0] if ctx.kept else _scale(d_NR, torch.float8_e5m2)
        d8_NR = _round(d_NR, d_scale, torch.float8_e5m2)
        d_x_NC = _multiply(d8_NR, d_scale, columns8_RC, weight_scale, d_NR.dtype)
        d_weight_RC = _multiply(d8_NR.t().contiguous(), d_scale, _by_columns(x8_NC), x_scale, torch.float32)
        found = (x_scale * ROOM, d_scale * ROOM) if ctx.asked and not ctx.kept else (None, None)
        return d_x_NC, None, None, None, *found, None, *d_weight_RC.split(ctx.rows)


def _scale(x: Tensor, dtype: torch.dtype) -> Tensor:
    """What to divide `x` by so that its largest value is the format's largest, float32 ()."""
    return x.abs().amax().float().clamp(min=1e-12) / torch.finfo(dtype).max


def _round(x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """The values divided by the scale; what is too large then becomes the format's largest."""
    most = torch.finfo(dtype).max
    return (x.float() / scale).clamp(-most, most).to(dtype)


def _by_columns(matrix: Tensor) -> Tensor:
    """The same matrix, column after column in memory, as a product's second factor has to lie."""
    return matrix.t().contiguous().t()


def _multiply(
    left: Tensor, left_scale: Tensor, right: Tensor, right_scale: Tensor, dtype: torch.dtype, *, fast: bool = False
) -> Tensor:
    """left @ right, of the scaled values. fast: add up in less than float32."""
    return torch._scaled_mm(left, right, scale_a=left_scale, scale_b=right_scale, out_dtype=dtype, use_fast_accum=fast)  # pyright: ignore[reportPrivateImportUsage]
