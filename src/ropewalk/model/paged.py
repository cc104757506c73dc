"""Attention of one new position a sequence to the pages that it holds, read where they lie: float32, on a CPU.

torch's kernels want keys and values in one piece, so pages are gathered for them in each layer of each step, a fifth of a
step of 32 texts, and then read again. Here they are read once, where they lie (Kwon et al. 2023, section 4.3).

Shapes: B sequences, G key/value heads, U query heads of each, K head width, N places of a cache, P pages, S positions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ropewalk.model import loops
from ropewalk.model.cache import PAGE_TOKENS, Memory


def reads_pages(q_BHTK: Tensor) -> bool:
    """Whether `attend_pages` is for these queries: one a sequence, and nothing to learn."""
    return q_BHTK.shape[2] == 1 and q_BHTK.dtype == torch.float32 and q_BHTK.is_cpu and not torch.is_grad_enabled()


def attend_pages(q_BH1K: Tensor, memory: Memory, mask_B11S: Tensor, *, scale: float) -> Tensor:
    """Mix each sequence's one position with all that its pages hold, (B, H, 1, K).

    mask_B11S: true from a sequence's first position to its last.
    """
    B, _, _, K = q_BH1K.shape
    G = memory.k_GNK.shape[0]
    q_BGUK = q_BH1K.reshape(B, G, -1, K).contiguous()
    mixed_BGUK = torch.empty_like(q_BGUK)
    table_BP, lengths_B = memory.places.table_BP.contiguous(), mask_B11S[:, 0, 0].sum(dim=1)
    tensors = (q_BGUK, memory.k_GNK, memory.v_GNK, table_BP, lengths_B, mixed_BGUK)
    loops.use_threads()
    loops.attend(*(tensor.numpy() for tensor in tensors), PAGE_TOKENS, np.float32(scale))
    return mixed_BGUK.view(q_BH1K.shape)
