"""What the passes of one step share on a GPU: weights rounded once, gradients added up where they lie.

A step of eight passes rounds the same weights eight times, and adds eight dense gradients to `weight.grad`: at depth 24 a
sixth of all that it reads and writes. `hold` does once what a step needs once; `Held` is what a matrix product then reads.

Shapes: N tokens, R outputs, C inputs, V vocabulary, D width.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ropewalk.model.float8 import by_columns, multiply, quantize, scaled, widest

# tables: embeddings' gradients are added in place. fused: by compiled loops, the rounding to bfloat16 with them.
# held: weights are rounded once a step. added: matrices' gradients are added in place.
# hooked: in place of "added", by a hook after each product, for what is not in float8.
# rows: the scales' gradients are summed by rows first. muon: the optimizer's loops are compiled.
# chunk: the loss reads a whole pass of logits at once. float8: scales of the first pass serve the others.
ON: set[str] = {name for name in os.environ.get("ROPEWALK_GPU", "").split(",") if name}

ROOM = 2.0  # a later pass may hold values so many times as large as the first one's largest


@dataclass(eq=False)
class Held:
    """One matrix, or several on top of each other, ready to be multiplied by for a step.

    weight_RC: in the precision of the products. sum_RC: the float32 gradient, whose rows are the weights' own `grad`.
    columns_RC, scale: in float8, the same matrix column after column, and what it was divided by. scales: those of what
    comes in and of the gradient, (2,); while it requires a gradient they are measured, and its gradient is what was found.
    """

    weight_RC: Tensor
    sum_RC: Tensor | None
    columns_RC: Tensor | None = None
    scale: Tensor | None = None
    scales: Tensor | None = None


def hold(weights: Sequence[Tensor], *, in_float8: bool) -> Held:
    """Round the weights, on top of each other, and give each the `grad` that the passes add to."""
    parts = [weight.detach() if in_float8 else weight.detach().bfloat16() for weight in weights]
    weight_RC = parts[0] if len(parts) == 1 else torch.cat(parts)
    sum_RC = None
    hooked = "hooked" in ON and not in_float8
    if "added" in ON or hooked:
        sum_RC = torch.zeros_like(weight_RC, dtype=torch.float32)
        for weight, part in zip(weights, sum_RC.split([len(weight) for weight in weights]), strict=True):
            if weight.grad is not None:
                part.copy_(weight.grad)
            weight.grad = part
    if hooked and sum_RC is not None:
        _add_gradients(weight_RC, sum_RC)
    if not in_float8:
        return Held(weight_RC, sum_RC)
    weight8_RC, columns8_RC, scale = (_compiled(_both_ways) if "fused" in ON else _both_ways)(weight_RC)
    scales = torch.zeros(2, device=weight_RC.device, requires_grad=True)
    return Held(weight8_RC, sum_RC, columns8_RC, scale, scales)


def _add_gradients(weight_RC: Tensor, sum_RC: Tensor) -> None:
    """Whenever the rounded weight gets a gradient, it goes to the sum."""

    def add(leaf_RC: Tensor) -> None:
        assert leaf_RC.grad is not None
        sum_RC.add_(leaf_RC.grad)
        leaf_RC.grad = None

    weight_RC.requires_grad_().register_post_accumulate_grad_hook(add)


def _both_ways(weight_RC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """In float8, row after row and column after column, and what it was divided by."""
    weight8_RC, scale = quantize(weight_RC, torch.float8_e4m3fn)
    return weight8_RC, by_columns(weight8_RC), scale


def keep_scales(held: Iterable[Held]) -> None:
    """After a step's first pass: what it measured, with room, serves the others."""
    for one in held:
        if one.scales is not None and one.scales.grad is not None:
            one.scales = one.scales.grad * ROOM


def held_linear(x: Tensor, held: Held, *weights: Tensor) -> Tensor:
    """`x @ weight.T` for x (..., C); the weights are those that `held` was made of."""
    if held.weight_RC.requires_grad:
        return functional.linear(x, held.weight_RC)
    x_NC = x.flatten(0, -2)
    if held.scales is None:
        product_NR = _HeldLinear.apply(x_NC, held.weight_RC, held.sum_RC, *weights)
    else:
        eight = (held.weight_RC, held.columns_RC, held.scale, held.scales)
        product_NR = _HeldFloat8Linear.apply(x_NC, *eight, held.scales.requires_grad, held.sum_RC, *weights)
    return product_NR.unflatten(0, x.shape[:-1])  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]


class _HeldLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NC: Tensor, weight_RC: Tensor, sum_RC: Tensor | None, *weights: Tensor) -> Tensor:
        ctx.save_for_backward(x_NC, weight_RC, *(() if sum_RC is None else (sum_RC,)))
        ctx.rows = [len(weight) for weight in weights]
        return x_NC @ weight_RC.T

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        (d_NR,) = gradients
        x_NC, weight_RC, *sums = ctx.saved_tensors
        d_x_NC = d_NR @ weight_RC
        if sums:
            add_product(sums[0], d_NR, x_NC)
            return d_x_NC, None, None, *[None] * len(ctx.rows)
        return d_x_NC, None, None, *(d_NR.T @ x_NC).float().split(ctx.rows)


class _HeldFloat8Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_NC: Tensor,
        weight8_RC: Tensor,
        columns8_RC: Tensor,
        weight_scale: Tensor,
        scales: Tensor,
        measures: bool,
        sum_RC: Tensor | None,
        *weights: Tensor,
    ) -> Tensor:
        x_scale = widest(x_NC, torch.float8_e4m3fn) if measures else scales[0]
        x8_NC = scaled(x_NC, x_scale, torch.float8_e4m3fn)
        sums = () if sum_RC is None else (sum_RC,)
        ctx.save_for_backward(x8_NC, columns8_RC, weight_scale, x_scale, scales, *sums)
        ctx.measures = measures
        ctx.rows = [len(weight) for weight in weights]
        return multiply(x8_NC, x_scale, weight8_RC.t(), weight_scale, x_NC.dtype, fast=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        (d_NR,) = gradients
        x8_NC, columns8_RC, weight_scale, x_scale, scales, *sums = ctx.saved_tensors
        d_scale = widest(d_NR, torch.float8_e5m2) if ctx.measures else scales[1]
        d8_NR = scaled(d_NR, d_scale, torch.float8_e5m2)
        d_x_NC = multiply(d8_NR, d_scale, columns8_RC, weight_scale, d_NR.dtype)
        found = torch.stack([x_scale, d_scale]) if ctx.measures else None
        dtype = torch.bfloat16 if sums else torch.float32
        d_weight_RC = multiply(d8_NR.t().contiguous(), d_scale, by_columns(x8_NC), x_scale, dtype)
        if sums:
            sums[0].add_(d_weight_RC)
            return d_x_NC, None, None, None, found, None, None, *[None] * len(ctx.rows)
        return d_x_NC, None, None, None, found, None, None, *d_weight_RC.split(ctx.rows)


@torch.library.custom_op("ropewalk::add_product", mutates_args=("sum_RC",))
def add_product(sum_RC: Tensor, left_NR: Tensor, right_NC: Tensor) -> None:
    """sum += left.T @ right: a GPU adds a bfloat16 product to a float32 sum as it leaves the registers."""
    if sum_RC.is_cuda and left_NR.dtype != sum_RC.dtype:
        torch.addmm(sum_RC, left_NR.T, right_NC, out_dtype=sum_RC.dtype, out=sum_RC)
    else:
        sum_RC += left_NR.T @ right_NC


class _Rows(torch.autograd.Function):
    """Rows of a table, whose gradient is added to the table's in place."""

    @staticmethod
    def forward(ctx: Any, ids_BT: Tensor, table_VD: Tensor, sum_VD: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(ids_BT)
        ctx.sum_VD = sum_VD
        return (_compiled(_take) if "fused" in ON else _take)(ids_BT, table_VD.detach(), dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[None, ...]:
        (ids_BT,) = ctx.saved_tensors
        (_compiled(_add_rows) if "fused" in ON else _add_rows)(ctx.sum_VD, ids_BT.flatten(), gradients[0].flatten(0, 1))
        return None, None, None, None


def table_rows(ids_BT: Tensor, table: nn.Embedding, dtype: torch.dtype) -> Tensor:
    """The table's rows at `ids_BT`, rounded; with a gradient to add to, they are added there."""
    if "tables" in ON and torch.is_grad_enabled() and table.weight.grad is not None:
        return _Rows.apply(ids_BT, table.weight, table.weight.grad, dtype)  # pyright: ignore[reportReturnType]
    return table(ids_BT).to(dtype)


def _take(ids_BT: Tensor, table_VD: Tensor, dtype: torch.dtype) -> Tensor:
    return functional.embedding(ids_BT, table_VD).to(dtype)


def _add_rows(sum_VD: Tensor, ids_N: Tensor, d_ND: Tensor) -> None:
    if torch.compiler.is_compiling():
        sum_VD.index_put_((ids_N,), d_ND.float(), accumulate=True)
    else:
        sum_VD.index_add_(0, ids_N, d_ND.float())


@functools.cache
def _compiled(function: Any) -> Any:
    return torch.compile(function, dynamic=False)
