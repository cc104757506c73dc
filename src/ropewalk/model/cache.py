"""Keys and values of the positions already read, in pages that sequences hold.

Shapes: L layers, B sequences, G key/value heads, T new positions, S positions of a sequence, K head width, D model width,
P pages, N flattened positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.model.config import ModelConfig

PAGE_TOKENS = 16
FIRST_PAGES = 64


def pages_for(tokens: int) -> int:
    """How many pages so many positions fill."""
    return -(-tokens // PAGE_TOKENS)


@dataclass(frozen=True)
class Places:
    """Where a forward pass writes and what it reads, the same in every layer.

    written_N: the new positions' places among all of the cache's. table_BP: the pages of each sequence. before_BT: the
    places one position before the new ones. positions_BT: the new positions.
    """

    written_N: Tensor
    table_BP: Tensor
    before_BT: Tensor
    positions_BT: Tensor


@dataclass(frozen=True)
class Memory:
    """One layer's keys and values during a forward pass."""

    k_GNK: Tensor
    v_GNK: Tensor
    places: Places

    def store(self, k_BGTK: Tensor, v_BGTK: Tensor) -> None:
        """Store the keys and values of new positions."""
        _, G, _, K = k_BGTK.shape
        for cache_GNK, new_BGTK in ((self.k_GNK, k_BGTK), (self.v_GNK, v_BGTK)):
            cache_GNK.index_copy_(1, self.places.written_N, new_BGTK.transpose(0, 1).reshape(G, -1, K))

    def extend(self, k_BGTK: Tensor, v_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        """Store the keys and values of new positions; return those of all positions, (B, G, S, K) each.

        S is what the table's pages hold; what lies behind a sequence's end is for the mask to hide.
        """
        self.store(k_BGTK, v_BGTK)
        B, G, _, K = k_BGTK.shape
        held = []
        for cache_GNK in (self.k_GNK, self.v_GNK):
            read_GPK = cache_GNK.view(G, -1, PAGE_TOKENS * K).index_select(1, self.places.table_BP.flatten())
            held.append(read_GPK.view(G, B, -1, K).transpose(0, 1))
        return held[0], held[1]


class KeyValueCache:
    """Room for pages of 16 positions each, all layers, in the activations' precision.

    A sequence's positions lie in the pages that its row of a table names, in order. Two rows may name one page, and the same
    beginning is then held once. Page 0 is nobody's: rows end with it, and padding is written there.

    Memory is taken as pages are written to, in doublings, up to `pages`: 65,536 tokens of SmolLM2 would take 3 GB at once,
    and few conversations come near. On a GPU it is taken at once: what a CUDA graph reads may not move, and nothing there is
    to wait for the highest page. What a page held before is never looked at, so pages are not cleared.
    """

    def __init__(
        self, config: ModelConfig, *, pages: int, dtype: torch.dtype = torch.float32, device: torch.device | None = None
    ) -> None:
        self.pages = pages
        self.whole = device is not None and device.type == "cuda"
        places = (1 + pages if self.whole else min(FIRST_PAGES, 1 + pages)) * PAGE_TOKENS
        shape = (config.key_value_heads, places, config.head_width)
        self.k_LGNK = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.layers)]
        self.v_LGNK = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.layers)]
        smeared = 1 if "smear" in config.extras else 0
        self.x_1ND = torch.zeros(smeared, places, config.width, dtype=dtype, device=device)

    def places(self, table_BP: Tensor, positions_BT: Tensor) -> Places:
        """Where these positions of the sequences with these pages lie. Takes memory for them."""
        if not self.whole:
            self._grow(int(table_BP.max()) + 1)

        def place_of(of_BT: Tensor) -> Tensor:
            return table_BP.gather(1, of_BT // PAGE_TOKENS) * PAGE_TOKENS + of_BT % PAGE_TOKENS

        before_BT = place_of((positions_BT - 1).clamp(min=0))
        return Places(place_of(positions_BT).flatten(), table_BP, before_BT, positions_BT)

    def layer(self, layer: int, places: Places) -> Memory:
        """One layer's part, for a pass that writes and reads there."""
        return Memory(self.k_LGNK[layer], self.v_LGNK[layer], places)

    def one_before(self, places: Places, positions_BT: Tensor, x_BTD: Tensor) -> Tensor:
        """Store the embeddings of new positions; return those one position before each (B, T, D), 0 before the first."""
        self.x_1ND[0].index_copy_(0, places.written_N, x_BTD.flatten(0, 1))
        return self.x_1ND[0][places.before_BT] * (positions_BT > 0)[..., None]

    def copy(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Let pages hold what others do, pair by pair."""
        self._grow(max(targets, default=0) + 1)
        source_N, target_N = torch.tensor([sources, targets], dtype=torch.long, device=self.x_1ND.device)
        for cache in (*self.k_LGNK, *self.v_LGNK, self.x_1ND):
            paged = cache.unflatten(1, (-1, PAGE_TOKENS))
            paged.index_copy_(1, target_N, paged.index_select(1, source_N))

    def _grow(self, pages: int) -> None:
        """Take memory for so many pages, page 0 among them: the next power of two, as far as there may be."""
        assert pages <= 1 + self.pages, f"page {pages - 1} lies beyond the cache's {self.pages}"
        if pages * PAGE_TOKENS <= self.k_LGNK[0].shape[1]:
            return
        places = min(1 << (pages - 1).bit_length(), 1 + self.pages) * PAGE_TOKENS

        def grown(old: Tensor) -> Tensor:
            new = old.new_zeros(old.shape[0], places, old.shape[2])
            new[:, : old.shape[1]] = old
            return new

        for layers in (self.k_LGNK, self.v_LGNK):
            for layer, old_GNK in enumerate(layers):
                layers[layer] = grown(old_GNK)
        self.x_1ND = grown(self.x_1ND)
