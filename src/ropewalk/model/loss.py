"""Next-token cross-entropy that never holds the logits, and bits per byte.

Shapes: N flattened tokens, D model width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ropewalk.model.fused import fused

CHUNK_TOKENS = 512  # 512 x 8,192 float32 logits are 16.8 MB: the fastest of 256, 512 and 2,048 on 2 cores
GPU_CHUNK_TOKENS = 8192  # a GPU wants products large enough to fill it
GPU_LOGITS = 2**29  # at once where twice as many tokens come out even: 1.1 GB in bfloat16, a vocabulary of 32,768


Weights = Tensor | Callable[[Tensor, slice], Tensor]
"""A weight for each token (N,), or a function (losses of a chunk, where the chunk lies in N) -> its weights."""


def linear_cross_entropy(
    hidden_ND: Tensor,
    head_VD: Tensor,
    targets_N: Tensor,
    weights: Weights,
    *,
    softcap: float | None = None,
    barred: Tensor | None = None,
    compiled: bool = False,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of `hidden @ head.T` against `targets`, chunk by chunk.

    Returns the weighted sum of the tokens' losses (a scalar, differentiable) and the plain loss of each token in nats (N,),
    without gradient. Give weights of 1/N for a mean, and 0 where a token must not be learned. Where the objective is no sum
    of losses, a policy's for example, give the function that takes the losses to the objective's slope at each of them: the
    gradient is then the objective's.

    The gradients are computed in the forward pass while a chunk's logits are at hand: nothing of size N x V is kept, and
    nothing is computed for what is frozen.

    softcap: the logits z are softcap * tanh(z / softcap), as `Transformer.logits` gives them.
    barred: ids that have no probability, because what drew the targets never draws them.
    compiled: on a GPU, read a whole chunk's logits in fused loops; on a CPU those take longer (LOG.md, 2026-11-26).
    """
    if not torch.is_grad_enabled():  # inside `forward` it always looks disabled, so it has to be asked here
        hidden_ND, head_VD = hidden_ND.detach(), head_VD.detach()
    return _LinearCrossEntropy.apply(hidden_ND, head_VD, targets_N, weights, softcap, barred, compiled)  # pyright: ignore[reportReturnType]


def linear_cross_entropy_plain(
    hidden_ND: Tensor,
    head_VD: Tensor,
    targets_N: Tensor,
    weights: Weights,
    *,
    softcap: float | None = None,
    barred: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The plain twin of `linear_cross_entropy`: all logits at once, autograd's gradients."""
    logits_NV = hidden_ND @ head_VD.T
    if softcap is not None:
        logits_NV = softcap * torch.tanh(logits_NV / softcap)
    if barred is not None:
        logits_NV = logits_NV.index_fill(1, barred, -torch.inf)
    losses_N = torch.nn.functional.cross_entropy(logits_NV, targets_N, reduction="none")
    weights_N = weights if isinstance(weights, Tensor) else weights(losses_N.detach(), slice(0, len(targets_N)))
    return (losses_N * weights_N).sum(), losses_N.detach()


class _LinearCrossEntropy(torch.autograd.Function):
    """Both gradients are ready when `forward` ends; `backward` only scales them by what comes from above."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        head_VD: Tensor,
        targets_N: Tensor,
        weights: Weights,
        softcap: float | None,
        barred: Tensor | None,
        compiled: bool,
    ) -> tuple[Tensor, Tensor]:
        wants_hidden, wants_head = ctx.needs_input_grad[:2]
        losses_N = torch.empty(len(targets_N), device=hidden_ND.device)
        weights_N = torch.empty_like(losses_N)
        d_hidden_ND = torch.empty_like(hidden_ND) if wants_hidden else None
        d_head_VD = torch.zeros_like(head_VD) if wants_head else None
        multiplied_VD = head_VD.to(hidden_ND.dtype)
        barred = None if barred is None else barred.to(hidden_ND.device)
        size = _gpu_chunk(len(targets_N), len(head_VD)) if hidden_ND.is_cuda else CHUNK_TOKENS
        for start in range(0, len(targets_N), size):
            chunk = slice(start, start + size)
            targets_C1 = targets_N[chunk, None]
            logits_CV = hidden_ND[chunk] @ multiplied_VD.T
            if barred is not None:
                logits_CV.index_fill_(1, barred, -torch.inf)
            if callable(weights):

                def weigh(losses_C: Tensor, chunk: slice = chunk) -> Tensor:
                    weights_N[chunk] = weights(losses_C, chunk)
                    return weights_N[chunk, None]

                losses_N[chunk], d_logits_CV = read_logits(logits_CV, targets_C1, weigh, softcap)
            else:
                weights_N[chunk] = weights[chunk]
                weights_C1 = weights_N[chunk, None] if wants_hidden or wants_head else None
                whole = compiled and hidden_ND.is_cuda and len(logits_CV) == size  # others would be compiled size by size
                read = fused(read_logits) if whole else read_logits
                losses_N[chunk], d_logits_CV = read(logits_CV, targets_C1, weights_C1, softcap)
            if d_logits_CV is not None and d_hidden_ND is not None:
                torch.mm(d_logits_CV, multiplied_VD, out=d_hidden_ND[chunk])
            if d_logits_CV is not None and d_head_VD is not None:
                _add_product(d_head_VD, d_logits_CV.T, hidden_ND[chunk])
        ctx.save_for_backward(d_hidden_ND, d_head_VD)
        ctx.mark_non_differentiable(losses_N)
        return (losses_N * weights_N).sum(), losses_N

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        d_loss = gradients[0]
        d_hidden_ND, d_head_VD = ctx.saved_tensors
        scaled = (None if gradient is None else gradient * d_loss for gradient in (d_hidden_ND, d_head_VD))
        return *scaled, None, None, None, None, None


def read_logits(
    logits_CV: Tensor,
    targets_C1: Tensor,
    weights_C1: Tensor | Callable[[Tensor], Tensor] | None,
    softcap: float | None,
) -> tuple[Tensor, Tensor | None]:
    """A chunk's losses in nats (C,) and, where weights are given, the weighted losses' slope in its logits (C, V).

    weights_C1: may be a function of the losses.

    d loss / d logits = (softmax - one-hot of the target) x weight, times the softcap's own slope. Logits in float32 are
    written over: memory is what this costs when it is not compiled.
    """
    compiling = torch.compiler.is_compiling()
    scores_CV, tanh_CV = logits_CV.float(), None
    if compiling:
        scores_CV = scores_CV.clone()  # fused away, where a result in what came in would have to be written
    if softcap is not None:
        tanh_CV = scores_CV.div_(softcap).tanh_()
        scores_CV = tanh_CV * softcap
    scores_CV -= scores_CV.amax(dim=1, keepdim=True)
    at_target_C1 = scores_CV.gather(1, targets_C1)
    sums_C1 = scores_CV.exp_().sum(dim=1, keepdim=True)
    losses_C = (sums_C1.log() - at_target_C1)[:, 0]
    if weights_C1 is None:
        return losses_C, None
    if not isinstance(weights_C1, Tensor):
        weights_C1 = weights_C1(losses_C)
    slopes_CV = scores_CV.mul_(weights_C1 / sums_C1)
    if compiling:
        is_target_CV = torch.arange(logits_CV.shape[1], device=logits_CV.device) == targets_C1
        slopes_CV = torch.where(is_target_CV, slopes_CV - weights_C1, slopes_CV)
    else:
        slopes_CV.scatter_add_(1, targets_C1, -weights_C1)
    if tanh_CV is not None:
        slopes_CV -= slopes_CV * tanh_CV.square_()
    return losses_C, slopes_CV.to(logits_CV.dtype)


def _gpu_chunk(tokens: int, vocabulary: int) -> int:
    """How many tokens' logits a GPU holds at once."""
    twice = 2 * GPU_CHUNK_TOKENS
    return twice if tokens % twice == 0 and twice * vocabulary <= GPU_LOGITS else GPU_CHUNK_TOKENS


def _add_product(sum_VD: Tensor, left_VC: Tensor, right_CD: Tensor) -> None:
    """sum += left @ right, where the factors may be of half the sum's precision."""
    if left_VC.dtype == sum_VD.dtype:
        sum_VD.addmm_(left_VC, right_CD)
    else:
        sum_VD += left_VC @ right_CD


def bits_per_byte(total_nats: float, total_bytes: int) -> float:
    """Loss in a unit that does not depend on the tokenizer: bits needed for each byte of the text.

    Special tokens stand for no bytes; leave their losses out of `total_nats`.
    """
    return total_nats / math.log(2) / total_bytes
