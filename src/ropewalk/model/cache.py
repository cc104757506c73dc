"""Keys and values of the positions already read, in one slot a sequence.

Shapes: L layers, B slots, G key/value heads, S positions, K head width, D model width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ropewalk.model.config import ModelConfig

FIRST_TOKENS = 256


class KeyValueCache:
    """Room for `slots` sequences of up to `capacity_tokens` each, all layers, in the activations' precision.

    Memory is taken as sequences grow, in doublings, up to the capacity: eight slots of SmolLM2's 8,192 tokens would take
    3 GB at once, and few conversations come near.

    A slot is reused by starting again at position 0: what lies beyond a sequence's own length is never looked at.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        slots: int,
        capacity_tokens: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> None:
        self.capacity_tokens = capacity_tokens
        shape = (slots, config.key_value_heads, min(FIRST_TOKENS, capacity_tokens), config.head_width)
        self.k_LBGSK = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.layers)]
        self.v_LBGSK = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.layers)]
        smeared = slots if "smear" in config.extras else 0
        self.x_BSD = torch.zeros(smeared, min(FIRST_TOKENS, capacity_tokens), config.width, dtype=dtype, device=device)

    def extend(
        self, layer: int, slots_B: Tensor, positions_BT: Tensor, k_BGTK: Tensor, v_BGTK: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Store the keys and values of new positions; return those of all positions so far, (B, G, S, K) each.

        S is the longest length among these slots; shorter ones carry old values behind, for the mask to hide.
        """
        length = self._length(positions_BT)
        rows_B1, columns_BT = slots_B[:, None], positions_BT
        held = []
        for cache_LBGSK, new_BGTK in ((self.k_LBGSK, k_BGTK), (self.v_LBGSK, v_BGTK)):
            if length > cache_LBGSK[layer].shape[2]:
                cache_LBGSK[layer] = self._grown(cache_LBGSK[layer], length)
            cache_LBGSK[layer].transpose(1, 2)[rows_B1, columns_BT] = new_BGTK.transpose(1, 2)
            held.append(cache_LBGSK[layer][slots_B, :, :length])
        return held[0], held[1]

    def one_before(self, slots_B: Tensor, positions_BT: Tensor, x_BTD: Tensor) -> Tensor:
        """Store the embeddings of new positions; return those one position before each (B, T, D), 0 before the first."""
        length = self._length(positions_BT)
        if length > self.x_BSD.shape[1]:
            self.x_BSD = self._grown(self.x_BSD[:, None], length)[:, 0]
        self.x_BSD[slots_B[:, None], positions_BT] = x_BTD
        return self.x_BSD[slots_B[:, None], (positions_BT - 1).clamp(min=0)] * (positions_BT > 0)[..., None]

    def _length(self, positions_BT: Tensor) -> int:
        """How many positions the longest of these sequences has now."""
        length = int(positions_BT.max()) + 1
        assert length <= self.capacity_tokens, f"position {length - 1} lies beyond the cache's {self.capacity_tokens} tokens"
        return length

    def _grown(self, old_BGSK: Tensor, length: int) -> Tensor:
        """The same with room for `length` positions or more: the next power of two, as far as the capacity allows."""
        B, G, S, K = old_BGSK.shape
        new_BGSK = old_BGSK.new_zeros(B, G, min(1 << (length - 1).bit_length(), self.capacity_tokens), K)
        new_BGSK[:, :, :S] = old_BGSK
        return new_BGSK
