"""The decoder. Parameter names are those of Hugging Face's Qwen3 and Llama, so a state dict needs no translation.

Shapes: B batch, T time, S time of keys, D model width, F feed-forward width, H query heads, G key/value heads,
K head width, V vocabulary, L layers, N flattened tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ropewalk.model.cache import KeyValueCache
from ropewalk.model.config import ModelConfig


class RMSNorm(nn.Module):
    """Divide by the root mean square over the last axis (Zhang & Sennrich 2019)."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.weight.shape, self.weight, self.epsilon)


def rotary_angles(positions_BT: Tensor, *, head_width: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines for `rotate`, each (B, 1, T, K), halves repeated (Su et al. 2021, in the half-split layout)."""
    frequencies = theta ** (-torch.arange(0, head_width, 2, device=positions_BT.device, dtype=torch.float32) / head_width)
    angles_BTK = (positions_BT[..., None].float() * frequencies).repeat(1, 1, 2)
    return angles_BTK.cos()[:, None], angles_BTK.sin()[:, None]


def rotate(x_BHTK: Tensor, cos_B1TK: Tensor, sin_B1TK: Tensor) -> Tensor:
    """Turn each pair (i, i + K/2) by its position's angle, so that scores depend on distances only."""
    first, second = x_BHTK.chunk(2, dim=-1)
    return x_BHTK * cos_B1TK + torch.cat((-second, first), dim=-1) * sin_B1TK


def documents_mask(documents_BT: Tensor) -> Tensor:
    """Which positions see which where a row holds several documents, boolean (B, 1, T, T).

    `documents_BT` numbers each position's document within its row; a position sees itself and what is left of it there.
    """
    T = documents_BT.shape[1]
    same_BTS = documents_BT[:, :, None] == documents_BT[:, None, :]
    return (same_BTS & torch.ones(T, T, dtype=torch.bool, device=documents_BT.device).tril())[:, None]


def attend(q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, *, mask_B1TS: Tensor | None = None) -> Tensor:
    """Mix each position with those before it. Returns (B, H, T, K).

    Without a mask, queries and keys are the same T positions and each sees itself and what is left of it.
    Groups of H / G query heads share one key/value head (Ainslie et al. 2023, GQA).
    """
    heads_per_group = q_BHTK.shape[1] // k_BGSK.shape[1]
    k_BHSK = k_BGSK.repeat_interleave(heads_per_group, dim=1)
    v_BHSK = v_BGSK.repeat_interleave(heads_per_group, dim=1)
    return functional.scaled_dot_product_attention(q_BHTK, k_BHSK, v_BHSK, attn_mask=mask_B1TS, is_causal=mask_B1TS is None)


class Attention(nn.Module):
    """Grouped-query attention, with queries and keys normalised (Henry et al. 2020) where the configuration says so."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        D, H, G, K = config.width, config.query_heads, config.key_value_heads, config.head_width
        self.heads, self.groups, self.head_width = H, G, K
        self.q_proj = nn.Linear(D, H * K, bias=False)
        self.k_proj = nn.Linear(D, G * K, bias=False)
        self.v_proj = nn.Linear(D, G * K, bias=False)
        self.o_proj = nn.Linear(H * K, D, bias=False)
        self.q_norm = RMSNorm(K, config.norm_epsilon) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(K, config.norm_epsilon) if config.qk_norm else nn.Identity()

    def forward(
        self, x_BTD: Tensor, angles: tuple[Tensor, Tensor], memory: Memory | None, mask_B1TS: Tensor | None
    ) -> Tensor:
        """Attend within `x_BTD`, or, with a memory, to all that its slots hold as well. Returns (B, T, D)."""
        B, T, _ = x_BTD.shape
        q_BHTK = self.q_proj(x_BTD).view(B, T, self.heads, self.head_width).transpose(1, 2)
        k_BGTK = self.k_proj(x_BTD).view(B, T, self.groups, self.head_width).transpose(1, 2)
        v_BGTK = self.v_proj(x_BTD).view(B, T, self.groups, self.head_width).transpose(1, 2)
        q_BHTK = rotate(self.q_norm(q_BHTK), *angles)
        k_BGTK = rotate(self.k_norm(k_BGTK), *angles)
        if memory is None:
            mixed_BHTK = attend(q_BHTK, k_BGTK, v_BGTK, mask_B1TS=mask_B1TS)
        else:
            k_BGSK, v_BGSK = memory.extend(k_BGTK, v_BGTK)
            mixed_BHTK = attend(q_BHTK, k_BGSK, v_BGSK, mask_B1TS=mask_B1TS)
        return self.o_proj(mixed_BHTK.transpose(1, 2).reshape(B, T, self.heads * self.head_width))


class Memory:
    """One layer's view of the cache during a forward pass."""

    def __init__(self, cache: KeyValueCache, layer: int, slots_B: Tensor, positions_BT: Tensor) -> None:
        self.cache, self.layer, self.slots_B, self.positions_BT = cache, layer, slots_B, positions_BT

    def extend(self, k_BGTK: Tensor, v_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        return self.cache.extend(self.layer, self.slots_B, self.positions_BT, k_BGTK, v_BGTK)


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.feed_forward_width, bias=False)
        self.up_proj = nn.Linear(config.width, config.feed_forward_width, bias=False)
        self.down_proj = nn.Linear(config.feed_forward_width, config.width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD))


class Block(nn.Module):
    """Attention, then feed-forward, each added to the residual stream after a norm of its input."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.width, config.norm_epsilon)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.width, config.norm_epsilon)
        self.mlp = FeedForward(config)

    def forward(
        self,
        x_BTD: Tensor,
        angles: tuple[Tensor, Tensor],
        memory: Memory | None = None,
        mask_B1TS: Tensor | None = None,
    ) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), angles, memory, mask_B1TS)
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))


class Decoder(nn.Module):
    """Embedding, blocks, last norm: token ids to hidden states."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_epsilon)


class Transformer(nn.Module):
    """The whole model. `forward` ends at the hidden states; `logits` and the loss read the head themselves."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head = nn.Linear(config.width, config.vocabulary, bias=False)
        if config.tied_head:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(
        self,
        ids_BT: Tensor,
        *,
        cache: KeyValueCache | None = None,
        slots_B: Tensor | None = None,
        positions_BT: Tensor | None = None,
        documents_BT: Tensor | None = None,
    ) -> Tensor:
        """Read token ids and return the hidden states (B, T, D).

        With a cache, row b continues the sequence in slot `slots_B[b]` at `positions_BT[b]`, which also see what the slot
        holds before them. Without one, every row is a sequence of its own from position 0, or several that do not see
        each other: `documents_BT` numbers them, and `positions_BT` counts from 0 in each.
        """
        B, T = ids_BT.shape
        if positions_BT is None:
            positions_BT = torch.arange(T, device=ids_BT.device).expand(B, T)
        angles = rotary_angles(positions_BT, head_width=self.config.head_width, theta=self.config.rope_theta)
        mask_B1TS = None
        if cache is not None:
            S = int(positions_BT.max()) + 1
            mask_B1TS = (torch.arange(S) <= positions_BT[..., None])[:, None]
        elif documents_BT is not None:
            mask_B1TS = documents_mask(documents_BT)
        x_BTD = self.model.embed_tokens(ids_BT)
        for index, block in enumerate(self.model.layers):
            memory = None
            if cache is not None:
                assert slots_B is not None
                memory = Memory(cache, index, slots_B, positions_BT)
            x_BTD = block(x_BTD, angles, memory, mask_B1TS)
        return self.model.norm(x_BTD)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary for hidden states of any leading shape."""
        return self.lm_head(hidden)

    def initialize(self, seed: int) -> None:
        """Draw the starting weights from `seed`.

        Embeddings N(0, 1) and a head near zero: the first loss is that of a uniform guess. Projections that write to the
        residual stream start at zero, so every block starts as the identity; the rest is uniform with variance 1/fan-in.
        """
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if weight.ndim < 2 or name.endswith(("o_proj.weight", "down_proj.weight")):
                    weight.fill_(1.0 if weight.ndim < 2 else 0.0)
                elif name == "model.embed_tokens.weight":
                    weight.normal_(0, 1.0 if not self.config.tied_head else 0.02, generator=generator)
                elif name == "lm_head.weight":
                    weight.normal_(0, 0.001, generator=generator)
                else:
                    bound = (3 / weight.shape[1]) ** 0.5
                    weight.uniform_(-bound, bound, generator=generator)
