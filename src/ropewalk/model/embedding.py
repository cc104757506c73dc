"""Rows of a table, whose gradient a GPU adds up where it lies.

Autograd makes a dense gradient for each pass, nearly all of it zeros, and adds it to the sum of the passes before: the
larger the vocabulary, the more is written for nothing. CPUs, where equal bits count, go autograd's way.

Shapes: B batch, T time, N tokens, V vocabulary, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ropewalk.model.fused import fused


def look_up(ids_BT: Tensor, table: nn.Embedding, dtype: torch.dtype, *, compiled: bool = False) -> Tensor:
    """The table's rows at `ids_BT`, (B, T, D), in another precision. compiled: on a GPU, in loops that round as they go."""
    weight_VD = table.weight
    if weight_VD.is_cuda and weight_VD.requires_grad and torch.is_grad_enabled():
        return InPlace.apply(ids_BT, weight_VD, dtype, compiled)  # pyright: ignore[reportReturnType]
    return table(ids_BT).to(dtype)


def take_rows(ids_BT: Tensor, table_VD: Tensor, dtype: torch.dtype) -> Tensor:
    """The rows, as autograd follows them."""
    return functional.embedding(ids_BT, table_VD).to(dtype)


class InPlace(torch.autograd.Function):
    """`take_rows`, but that the gradient goes into the table's `grad` without becoming a table of its own."""

    @staticmethod
    def forward(ctx: Any, ids_BT: Tensor, table_VD: Tensor, dtype: torch.dtype, compiled: bool) -> Tensor:
        ctx.save_for_backward(ids_BT)
        ctx.table_VD, ctx.compiled = table_VD, compiled
        take = fused(take_rows, dynamic=None) if compiled else take_rows
        return take(ids_BT, table_VD.detach(), dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[None, None, None, None]:
        (ids_BT,) = ctx.saved_tensors
        (d_BTD,) = gradients
        if ctx.table_VD.grad is None:
            ctx.table_VD.grad = torch.zeros_like(ctx.table_VD)
        add = fused(_add_rows, dynamic=None) if ctx.compiled else _add_rows
        add(ctx.table_VD.grad, ids_BT.flatten(), d_BTD.flatten(0, 1))
        return None, None, None, None


def _add_rows(sum_VD: Tensor, ids_N: Tensor, d_ND: Tensor) -> None:
    if torch.compiler.is_compiling():
        sum_VD.index_put_((ids_N,), d_ND.to(sum_VD.dtype), accumulate=True)  # index_add would not be fused with the rounding
    else:
        sum_VD.index_add_(0, ids_N, d_ND.to(sum_VD.dtype))
