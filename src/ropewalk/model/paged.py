"""Attention of one new position a sequence to the pages that it holds, read where they lie: float32, on a CPU.

torch's kernels want keys and values in one piece, so pages are gathered for them in each layer of each step, a fifth of a
step of 32 texts, and then read again. Here they are read once, where they lie (Kwon et al. 2023, section 4.3).

Shapes: B sequences, G key/value heads, R query heads of each, K head width, N places of a cache, P pages, S positions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
import torch
from numba.core import config
from torch import Tensor

from ropewalk.model.cache import PAGE_TOKENS, Memory

Kernel = Callable[..., None]
LEAST = np.float32(np.finfo(np.float32).min)  # fast mathematics knows no infinity


def reads_pages(q_BHTK: Tensor) -> bool:
    """Whether `attend_pages` is for these queries: one a sequence, and nothing to learn."""
    return q_BHTK.shape[2] == 1 and q_BHTK.dtype == torch.float32 and q_BHTK.is_cpu and not torch.is_grad_enabled()


def attend_pages(q_BH1K: Tensor, memory: Memory, mask_B11S: Tensor, *, scale: float) -> Tensor:
    """Mix each sequence's one position with all that its pages hold, (B, H, 1, K).

    mask_B11S: true from a sequence's first position to its last.
    """
    B, _, _, K = q_BH1K.shape
    G = memory.k_GNK.shape[0]
    q_BGRK = q_BH1K.reshape(B, G, -1, K).contiguous()
    mixed_BGRK = torch.empty_like(q_BGRK)
    numba.set_num_threads(min(torch.get_num_threads(), _most_threads()))
    tensors = (q_BGRK, memory.k_GNK, memory.v_GNK, memory.places.table_BP.contiguous(), mask_B11S[:, 0, 0].contiguous())
    kernel()(*(tensor.numpy() for tensor in tensors), np.float32(scale), mixed_BGRK.numpy())
    return mixed_BGRK.view(q_BH1K.shape)


@cache
def kernel() -> Kernel:
    """The loop on several threads, if engines in threads of their own may use those at once; else on each one's own."""
    setattr(config, "THREADING_LAYER", "threadsafe")  # noqa: B010  numba makes its settings as it loads
    several = compiled(parallel=True)
    try:
        several(*_tiny())
    except ValueError:  # there is no such threading layer here
        return compiled(parallel=False)
    return several


@cache
def _most_threads() -> int:
    return getattr(config, "NUMBA_NUM_THREADS")  # noqa: B009


@cache
def compiled(*, parallel: bool) -> Kernel:
    """The loop, compiled at its first call and kept beside this file, or in the user's cache, if that can be written to."""
    options: dict[str, Any] = {"nogil": True, "fastmath": True, "parallel": parallel}
    try:
        return numba.njit(cache=True, **options)(_attend)
    except RuntimeError:  # no place for it
        return numba.njit(**options)(_attend)


def _attend(q_BGRK, k_GNK, v_GNK, table_BP, mask_BS, scale, mixed_BGRK):
    B, G, R, K = q_BGRK.shape
    page_tokens = mask_BS.shape[1] // table_BP.shape[1]
    for part in numba.prange(B * G):
        b, g = part // G, part % G
        length = 0
        while length < mask_BS.shape[1] and mask_BS[b, length]:
            length += 1
        scores_RS = np.empty((R, length), np.float32)
        most_R = np.full(R, LEAST, np.float32)
        for s in range(length):
            n = table_BP[b, s // page_tokens] * page_tokens + s % page_tokens
            for r in range(R):
                score = np.float32(0)
                for c in range(K):
                    score += q_BGRK[b, g, r, c] * k_GNK[g, n, c]
                scores_RS[r, s] = score * scale
                most_R[r] = max(most_R[r], scores_RS[r, s])
        sums_R, mixed_RK = np.zeros(R, np.float32), np.zeros((R, K), np.float32)
        for s in range(length):
            n = table_BP[b, s // page_tokens] * page_tokens + s % page_tokens
            for r in range(R):
                weight = np.exp(scores_RS[r, s] - most_R[r])
                sums_R[r] += weight
                for c in range(K):
                    mixed_RK[r, c] += weight * v_GNK[g, n, c]
        for r in range(R):
            for c in range(K):
                mixed_BGRK[b, g, r, c] = mixed_RK[r, c] / sums_R[r]


def _tiny() -> tuple[Any, ...]:
    """Arguments of the types that the loop always has."""
    cached = np.zeros((1, 2 * PAGE_TOKENS, 4), np.float32)
    query = np.zeros((1, 1, 1, 4), np.float32)
    return query, cached, cached, np.ones((1, 1), np.int64), np.ones((1, PAGE_TOKENS), np.bool_), np.float32(1), query.copy()
