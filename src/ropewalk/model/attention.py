"""Attention: of positions to each other, and to what a cache holds.

Shapes: B sequences, T new positions, S positions of keys, H query heads, G key/value heads, K head width, N places of a
cache, P pages.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ropewalk.model.cache import Memory
from ropewalk.model.paged import attend_pages, reads_pages


def attend(
    q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, *, mask_B1TS: Tensor | None = None, sharpness: float = 1.0
) -> Tensor:
    """Mix each position with those before it. Returns (B, H, T, K).

    Without a mask, queries and keys are the same T positions and each sees itself and what is left of it.
    Groups of H / G query heads share one key/value head (Ainslie et al. 2023, GQA).
    """
    heads_per_group = q_BHTK.shape[1] // k_BGSK.shape[1]
    share = heads_per_group > 1 and q_BHTK.is_cuda  # a GPU's kernels read a shared head where it lies
    scale = sharpness * q_BHTK.shape[-1] ** -0.5
    if heads_per_group > 1 and not share:
        if q_BHTK.shape[2] == 1 and mask_B1TS is not None:  # a group's heads are like positions that see the same keys
            q_BGTK = q_BHTK.reshape(*k_BGSK.shape[:2], heads_per_group, -1)
            mixed_BGTK = functional.scaled_dot_product_attention(q_BGTK, k_BGSK, v_BGSK, attn_mask=mask_B1TS, scale=scale)
            return mixed_BGTK.reshape(q_BHTK.shape)
        k_BGSK, v_BGSK = (x.repeat_interleave(heads_per_group, dim=1) for x in (k_BGSK, v_BGSK))
    return functional.scaled_dot_product_attention(
        q_BHTK, k_BGSK, v_BGSK, attn_mask=mask_B1TS, is_causal=mask_B1TS is None, scale=scale, enable_gqa=share
    )


def attend_held(
    q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, memory: Memory, mask_B1TS: Tensor, *, sharpness: float
) -> Tensor:
    """Store the keys and values of new positions, and attend to all that the memory holds. Returns (B, H, T, K)."""
    if reads_pages(q_BHTK):
        memory.store(k_BGTK, v_BGTK)
        return attend_pages(q_BHTK, memory, mask_B1TS, scale=sharpness * q_BHTK.shape[-1] ** -0.5)
    k_BGSK, v_BGSK = memory.extend(k_BGTK, v_BGTK)
    return attend(q_BHTK, k_BGSK, v_BGSK, mask_B1TS=mask_B1TS, sharpness=sharpness)


def turns_there(q_BHTK: Tensor) -> bool:
    """Whether `attend_there` is for these queries: one a sequence on a GPU, and nothing to learn."""
    return q_BHTK.is_cuda and q_BHTK.shape[2] == 1 and not torch.is_grad_enabled()


def attend_there(
    q_BH1K: Tensor,
    k_BG1K: Tensor,
    v_BG1K: Tensor,
    angles: tuple[Tensor, Tensor] | None,
    memory: Memory,
    *,
    sharpness: float,
) -> Tensor:
    """`attend_held` for one new position a sequence on a GPU, before queries and keys are turned. Returns (B, H, 1, K)."""
    from ropewalk.model.paged_gpu import attend_pages  # with Triton, which comes with torch for CUDA

    return attend_pages(q_BH1K, k_BG1K, v_BG1K, angles, memory, scale=sharpness * q_BH1K.shape[-1] ** -0.5)
