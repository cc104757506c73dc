"""Keys and values of the positions already read, in one slot a sequence.

Shapes: L layers, B slots, G key/value heads, S positions, K head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ropewalk.model.config import ModelConfig


class KeyValueCache:
    """Room for `slots` sequences of up to `capacity_tokens` each, float32, all layers.

    A slot is reused by starting again at position 0: what lies beyond a sequence's own length is never looked at.
    """

    def __init__(self, config: ModelConfig, *, slots: int, capacity_tokens: int) -> None:
        shape = (config.layers, slots, config.key_value_heads, capacity_tokens, config.head_width)
        self.k_LBGSK = torch.zeros(shape)
        self.v_LBGSK = torch.zeros(shape)
        self.capacity_tokens = capacity_tokens

    def extend(
        self, layer: int, slots_B: Tensor, positions_BT: Tensor, k_BGTK: Tensor, v_BGTK: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Store the keys and values of new positions; return those of all positions so far, (B, G, S, K) each.

        S is the longest length among these slots; shorter ones carry old values behind, for the mask to hide.
        """
        length = int(positions_BT.max()) + 1
        rows_B1, columns_BT = slots_B[:, None], positions_BT
        self.k_LBGSK[layer].transpose(1, 2)[rows_B1, columns_BT] = k_BGTK.transpose(1, 2)
        self.v_LBGSK[layer].transpose(1, 2)[rows_B1, columns_BT] = v_BGTK.transpose(1, 2)
        return self.k_LBGSK[layer, slots_B, :, :length], self.v_LBGSK[layer, slots_B, :, :length]
