"""The decoder. Parameter names are those of Hugging Face's Qwen3 and Llama, so a state dict needs no translation.

Shapes: B batch, T time, S time of keys, D model width, F feed-forward width, H query heads, G key/value heads,
K head width, V vocabulary, L layers, N flattened tokens.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ropewalk.model.attention import attend, attend_held, attend_there, turns_there
from ropewalk.model.cache import PAGE_TOKENS, KeyValueCache, Memory, Places
from ropewalk.model.config import SMEAR_CHANNELS, VALUE_GATE_CHANNELS, ModelConfig
from ropewalk.model.embedding import look_up
from ropewalk.model.float8 import fits_float8, float8_linear
from ropewalk.model.loss import Weights, linear_cross_entropy
from ropewalk.model.thin import is_thin, thin_linear

SHARPNESS = 1.2**2  # nanochat multiplies queries and keys by 1.2 each
Angles = tuple[Tensor, Tensor] | None


class Decode(Protocol):
    """What takes one new token of each of some texts through all blocks: (B, 1, D) to (B, 1, D)."""

    def takes(self, texts: int, /) -> bool:
        """Whether it can take a token of each of so many now."""
        ...

    def __call__(self, x_B1D: Tensor, angles: Angles, mask_B11S: Tensor, cache: KeyValueCache, places: Places, /) -> Tensor:
        """What comes out of the last block."""
        ...


class RMSNorm(nn.Module):
    """Divide by the root mean square over the last axis (Zhang & Sennrich 2019), and weigh each channel unless `bare`."""

    def __init__(self, width: int, epsilon: float, *, bare: bool = False) -> None:
        super().__init__()
        self.weight = None if bare else nn.Parameter(torch.ones(width))
        self.width, self.epsilon = width, epsilon

    def forward(self, x: Tensor) -> Tensor:
        weight = None if self.weight is None else self.weight.to(x.dtype)
        return functional.rms_norm(x, (self.width,), weight, self.epsilon)


class LayerNorm(nn.LayerNorm):
    """Subtract the mean, divide by the standard deviation, weigh and shift each channel (Ba et al. 2016)."""

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        weight, bias, dtype = self.weight, self.bias, x.dtype
        return functional.layer_norm(x, self.normalized_shape, weight.to(dtype), bias.to(dtype), self.eps)


def norm_of(config: ModelConfig) -> nn.Module:
    """The norm of the residual stream that a configuration asks for."""
    if config.norm == "layer":
        return LayerNorm(config.width, eps=config.norm_epsilon)
    return RMSNorm(config.width, config.norm_epsilon, bare=config.norm == "bare_rms")


class Linear(nn.Linear):
    """A matrix kept in float32 and multiplied in the precision of what comes in, or, `in_float8`, in less.

    thin: products of few tokens that nothing learns from are `thin_linear`'s.
    """

    in_float8 = thin = False
    adapted = False  # whether it adds to the product

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        if self.thin and is_thin(x):
            return thin_linear(x, self.weight, None, self.bias)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        if self.in_float8:
            product = float8_linear(x, self.weight)
            return product if bias is None else product + bias
        return functional.linear(x, self.weight.to(x.dtype), bias)


def rotary_frequencies(config: ModelConfig) -> Tensor:
    """Radians a position for each pair of channels, (K / 2,)."""
    K = config.head_width
    frequencies = config.rope_theta ** (-torch.arange(0, K, 2, dtype=torch.float32) / K)
    scaling = config.rope_scaling
    if scaling is None:
        return frequencies
    if scaling.kind == "linear":
        return frequencies / scaling.factor
    turns = scaling.original_context_tokens * frequencies / (2 * math.pi)  # within the context first trained on
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return frequencies * kept + frequencies / scaling.factor * (1 - kept)


@cache
def frequencies_on(device: torch.device, config: ModelConfig) -> Tensor:
    """`rotary_frequencies` where they are needed, once: a step that becomes a CUDA graph copies nothing to the GPU."""
    with torch.inference_mode(False):
        return rotary_frequencies(config).to(device)


def rotary_angles(positions_BT: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines for `rotate`, each (B, 1, T, K), halves repeated (Su et al. 2021, in the half-split layout)."""
    angles_BTK = (positions_BT[..., None].float() * frequencies).repeat(1, 1, 2)
    return angles_BTK.cos()[:, None], angles_BTK.sin()[:, None]


def rotate(x_BHTK: Tensor, cos_B1TK: Tensor, sin_B1TK: Tensor) -> Tensor:
    """Turn each pair (i, i + K/2) by its position's angle, so that scores depend on distances only."""
    first, second = x_BHTK.chunk(2, dim=-1)
    return x_BHTK * cos_B1TK + torch.cat((-second, first), dim=-1) * sin_B1TK


def documents_mask(documents_BT: Tensor, branches_BT: Tensor | None = None) -> Tensor:
    """Which positions see which where a row holds several documents, boolean (B, 1, T, T).

    `documents_BT` numbers each position's document within its row; a position sees itself and what is left of it there.
    With `branches_BT`, a document goes on from its beginning, branch 0, in several ways that do not see each other.
    """
    T = documents_BT.shape[1]
    seen_BTS = documents_BT[:, :, None] == documents_BT[:, None, :]
    if branches_BT is not None:
        seen_BTS &= (branches_BT[:, None, :] == 0) | (branches_BT[:, :, None] == branches_BT[:, None, :])
    return (seen_BTS & torch.ones(T, T, dtype=torch.bool, device=documents_BT.device).tril())[:, None]


class Attention(nn.Module):
    """Grouped-query attention, with queries and keys normalised (Henry et al. 2020) where the configuration says so."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        D, H, G, K = config.width, config.query_heads, config.key_value_heads, config.head_width
        self.heads, self.groups, self.head_width = H, G, K
        self.joined: nn.Module | None = None  # one matrix in the place of the next three
        biases = config.attention_bias != "none"
        self.q_proj = Linear(D, H * K, bias=biases)
        self.k_proj = Linear(D, G * K, bias=biases)
        self.v_proj = Linear(D, G * K, bias=biases)
        self.o_proj = Linear(H * K, D, bias=config.attention_bias == "all")
        bare = config.norm == "bare_rms"
        self.q_norm = RMSNorm(K, config.norm_epsilon, bare=bare) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(K, config.norm_epsilon, bare=bare) if config.qk_norm else nn.Identity()
        self.sharpness = SHARPNESS if "sharp_attention" in config.extras else 1.0
        if config.has_value_embedding(layer):
            self.value_gate = Linear(VALUE_GATE_CHANNELS, G, bias=False)

    def forward(
        self,
        x_BTD: Tensor,
        angles: Angles,
        memory: Memory | None,
        mask_B1TS: Tensor | None,
        values_BTGK: Tensor | None,
    ) -> Tensor:
        """Attend within `x_BTD`, or, with a memory, to all that its slots hold as well. Returns (B, T, D)."""
        B, T, _ = x_BTD.shape
        q, k, v = self._project(x_BTD)
        q_BHTK = q.view(B, T, self.heads, self.head_width).transpose(1, 2)
        k_BGTK = k.view(B, T, self.groups, self.head_width).transpose(1, 2)
        v_BTGK = v.view(B, T, self.groups, self.head_width)
        if values_BTGK is not None:
            gates_BTG = 3 * self.value_gate(x_BTD[..., :VALUE_GATE_CHANNELS]).sigmoid()
            v_BTGK = v_BTGK + gates_BTG[..., None] * values_BTGK
        v_BGTK = v_BTGK.transpose(1, 2)
        q_BHTK, k_BGTK = self.q_norm(q_BHTK), self.k_norm(k_BGTK)
        if memory is not None and turns_there(q_BHTK):
            mixed_BHTK = attend_there(q_BHTK, k_BGTK, v_BGTK, angles, memory, sharpness=self.sharpness)
            return self.o_proj(mixed_BHTK.view(B, T, self.heads * self.head_width))
        if angles is not None:
            q_BHTK, k_BGTK = rotate(q_BHTK, *angles), rotate(k_BGTK, *angles)
        if memory is None:
            mixed_BHTK = attend(q_BHTK, k_BGTK, v_BGTK, mask_B1TS=mask_B1TS, sharpness=self.sharpness)
        else:
            assert mask_B1TS is not None
            mixed_BHTK = attend_held(q_BHTK, k_BGTK, v_BGTK, memory, mask_B1TS, sharpness=self.sharpness)
        return self.o_proj(mixed_BHTK.transpose(1, 2).reshape(B, T, self.heads * self.head_width))

    def _project(self, x_BTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, T, heads x K).

        On a GPU by one product, which fills it better than three; not in float8, where scaling them apart is faster.
        """
        if self.joined is not None:
            widths = [self.heads * self.head_width, *(2 * [self.groups * self.head_width])]
            q, k, v = self.joined(x_BTD).split(widths, dim=-1)
            return q, k, v
        parts = (self.q_proj, self.k_proj, self.v_proj)
        if not x_BTD.is_cuda or any(part.bias is not None or part.in_float8 or part.adapted for part in parts):
            return self.q_proj(x_BTD), self.k_proj(x_BTD), self.v_proj(x_BTD)
        weight = torch.cat([part.weight for part in parts]).to(x_BTD.dtype)
        q, k, v = functional.linear(x_BTD, weight).split([part.out_features for part in parts], dim=-1)
        return q, k, v


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020), squared ReLU (So et al. 2021), or GPT-2's GELU (Hendrycks & Gimpel 2016, by tanh)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.kind, D, F, bias = config.feed_forward, config.width, config.feed_forward_width, config.feed_forward_bias
        self.joined: nn.Module | None = None  # one matrix in the place of the next two
        if self.kind == "swiglu":
            self.gate_proj = Linear(D, F, bias=bias)
        self.up_proj = Linear(D, F, bias=bias)
        self.down_proj = Linear(F, D, bias=bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        if self.joined is not None:
            gate_BTF, up_BTF = self.joined(x_BTD).chunk(2, dim=-1)
            hidden_BTF = functional.silu(gate_BTF) * up_BTF
        elif self.kind == "swiglu":
            hidden_BTF = functional.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD)
        elif self.kind == "squared_relu":
            hidden_BTF = functional.relu(self.up_proj(x_BTD)).square()
        else:
            hidden_BTF = functional.gelu(self.up_proj(x_BTD), approximate="tanh")
        return self.down_proj(hidden_BTF)


class Block(nn.Module):
    """Attention, then feed-forward, each added to the residual stream after a norm of its input."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        if "residual_scales" in config.extras:
            self.residual_scale = nn.Parameter(torch.ones(()))
            self.start_scale = nn.Parameter(torch.zeros(()))
        self.scaled = "residual_scales" in config.extras
        self.input_layernorm = norm_of(config)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = norm_of(config)
        self.mlp = FeedForward(config)

    def forward(
        self,
        x_BTD: Tensor,
        start_BTD: Tensor,
        angles: Angles,
        memory: Memory | None = None,
        mask_B1TS: Tensor | None = None,
        values_BTGK: Tensor | None = None,
    ) -> Tensor:
        """`start_BTD` is what the first block got; `values_BTGK` this layer's embeddings of the tokens, if it has any."""
        if self.scaled:
            x_BTD = self.residual_scale.to(x_BTD.dtype) * x_BTD + self.start_scale.to(x_BTD.dtype) * start_BTD
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), angles, memory, mask_B1TS, values_BTGK)
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))


class Decoder(nn.Module):
    """Embedding, blocks, last norm: token ids to hidden states."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        V, D = config.vocabulary, config.width
        self.embed_tokens = nn.Embedding(V, D)
        if config.positions == "learned":
            self.embed_positions = nn.Embedding(config.context_tokens, D)
        if "value_embeddings" in config.extras:
            width = config.key_value_heads * config.head_width
            layers = [layer for layer in range(config.layers) if config.has_value_embedding(layer)]
            self.embed_values = nn.ModuleDict({str(layer): nn.Embedding(V, width) for layer in layers})
        if "smear" in config.extras:
            self.smear_gate = Linear(SMEAR_CHANNELS, 1, bias=False)
            self.smear_scale = nn.Parameter(torch.zeros(()))
        if "backout" in config.extras:
            self.backout_scale = nn.Parameter(torch.zeros(()))
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = norm_of(config)

    def smear(self, x_BTD: Tensor, before_BTD: Tensor) -> Tensor:
        """Add a gated share of what stood one position before."""
        gates_BT1 = self.smear_gate(x_BTD[..., :SMEAR_CHANNELS]).sigmoid()
        return x_BTD + self.smear_scale.to(x_BTD.dtype) * gates_BT1 * before_BTD


class Transformer(nn.Module):
    """The whole model. `forward` ends at the hidden states; `logits` and the loss read the head themselves.

    precision: of the activations; weights are kept in float32. recompute: compute a block's activations again in the
    backward pass, for a third more work and a fraction of the memory (Chen et al. 2016). compiled: the loss reads logits in
    compiled loops where that is faster. decode: what takes one new token a sequence through the blocks in their place.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.precision, self.recompute, self.compiled = torch.float32, False, False
        self.decode: Decode | None = None
        self.model = Decoder(config)
        self.lm_head = Linear(config.width, config.vocabulary, bias=False)
        if config.tied_head:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(
        self,
        ids_BT: Tensor,
        *,
        cache: KeyValueCache | None = None,
        table_BP: Tensor | None = None,
        positions_BT: Tensor | None = None,
        documents_BT: Tensor | None = None,
        branches_BT: Tensor | None = None,
    ) -> Tensor:
        """Read token ids and return the hidden states (B, T, D).

        With a cache, row b continues the sequence in the pages `table_BP[b]` at `positions_BT[b]`, which also see what the
        pages hold before them. Without one, every row is a sequence of its own from position 0, or several that do not see
        each other: `documents_BT` numbers them, and `positions_BT` counts from 0 in each. Where sequences begin alike,
        they may be one document whose beginning is read once: `branches_BT` is 0 there and numbers how it goes on.
        """
        if positions_BT is None:
            positions_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device)[None]  # one row of positions serves all
        x_BTD, angles = self._embed(ids_BT, positions_BT), None
        if self.config.positions == "rotary":
            cos_B1TK, sin_B1TK = rotary_angles(positions_BT, frequencies_on(ids_BT.device, self.config))
            angles = cos_B1TK.to(x_BTD.dtype), sin_B1TK.to(x_BTD.dtype)
        mask_B1TS = places = None
        if cache is not None:
            assert table_BP is not None
            places, S = cache.places(table_BP, positions_BT), table_BP.shape[1] * PAGE_TOKENS
            mask_B1TS = (torch.arange(S, device=positions_BT.device) <= positions_BT[..., None])[:, None]
        elif documents_BT is not None:
            mask_B1TS = documents_mask(documents_BT, branches_BT)
        if "smear" in self.config.extras:
            before_BTD = _one_before(x_BTD, positions_BT, None if branches_BT is None else mask_B1TS)
            if cache is not None and places is not None:
                before_BTD = cache.one_before(places, positions_BT, x_BTD)
            x_BTD = self.model.smear(x_BTD, before_BTD)
        return self.model.norm(self._blocks(ids_BT, x_BTD, angles, mask_B1TS, cache, places))

    def _embed(self, ids_BT: Tensor, positions_BT: Tensor) -> Tensor:
        table = self.model.embed_tokens
        x_BTD = look_up(ids_BT, table, table.weight.dtype, compiled=self.compiled)
        if self.config.positions == "learned":
            x_BTD = x_BTD + self.model.embed_positions(positions_BT)
        if "embedding_norm" in self.config.extras:
            x_BTD = functional.rms_norm(x_BTD, x_BTD.shape[-1:], eps=self.config.norm_epsilon)
        return x_BTD.to(self.precision)

    def _blocks(
        self,
        ids_BT: Tensor,
        x_BTD: Tensor,
        angles: Angles,
        mask_B1TS: Tensor | None,
        cache: KeyValueCache | None,
        places: Places | None,
    ) -> Tensor:
        B, T = ids_BT.shape
        if self.decode is not None and T == 1 and cache is not None and self.decode.takes(B):
            assert places is not None and mask_B1TS is not None
            return self.decode(x_BTD, angles, mask_B1TS, cache, places)
        start_BTD, half_way = x_BTD, self.config.layers // 2
        halfway_BTD = None
        for layer, block in enumerate(self.model.layers):
            memory = values_BTGK = None
            if cache is not None and places is not None:
                memory = cache.layer(layer, places)
            if self.config.has_value_embedding(layer):
                table = self.model.embed_values[str(layer)]
                values = look_up(ids_BT, table, x_BTD.dtype, compiled=self.compiled)  # pyright: ignore[reportArgumentType]
                values_BTGK = values.view(B, T, self.config.key_value_heads, self.config.head_width)
            inputs = (x_BTD, start_BTD, angles, memory, mask_B1TS, values_BTGK)
            if self.recompute and torch.is_grad_enabled():
                x_BTD = checkpoint(block, *inputs, use_reentrant=False)
            else:
                x_BTD = block(*inputs)
            if layer == half_way:
                halfway_BTD = x_BTD
        if "backout" in self.config.extras and halfway_BTD is not None:
            x_BTD = x_BTD - self.model.backout_scale.to(x_BTD.dtype) * halfway_BTD
        return x_BTD

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary for hidden states of any leading shape, float32."""
        scores, cap = self.lm_head(hidden).float(), self.config.softcap
        return scores if cap is None else cap * torch.tanh(scores / cap)

    def loss(
        self, hidden_ND: Tensor, targets_N: Tensor, weights: Weights, *, barred: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The weighted sum of the cross-entropies of `logits(hidden_ND)`, and each of them: see `linear_cross_entropy`."""
        cap, compiled = self.config.softcap, self.compiled
        return linear_cross_entropy(
            hidden_ND, self.lm_head.weight, targets_N, weights, softcap=cap, barred=barred, compiled=compiled
        )

    def use_float8(self) -> None:
        """Multiply by the matrices inside blocks in float8, from activations in bfloat16 on. The head stays as it is."""
        self.precision = torch.bfloat16
        for module in self.model.layers.modules():
            if isinstance(module, Linear):
                module.in_float8 = fits_float8(module.weight)

    def initialize(self, seed: int) -> None:
        """Draw the starting weights from `seed`, as the shape's own makers do.

        Embeddings N(0, 1) and a head near zero: the first loss is that of a uniform guess. Projections that write to the
        residual stream start at zero, so every block starts as the identity; the rest is uniform with variance 1/fan-in.
        With learned positions as GPT-2's: N(0, 0.02), the projections that write to the stream divided by sqrt(2 L).
        The extras start as nanochat has them (commit 92d63d4).
        """
        generator = torch.Generator().manual_seed(seed)
        start = _start_gpt2 if self.config.positions == "learned" else _start
        with torch.no_grad():
            for name, weight in self.named_parameters():
                start(name, weight, self.config, generator)


def _one_before(x_BTD: Tensor, positions_BT: Tensor, mask_B1TS: Tensor | None) -> Tensor:
    """What stands one position before each, 0 where a sequence begins.

    With a mask, where sequences branch, that is the last that a position sees but for itself.
    """
    if mask_B1TS is None:
        before_BTD = functional.pad(x_BTD, (0, 0, 1, 0))[:, :-1]
    else:
        places_S = torch.arange(x_BTD.shape[1], device=x_BTD.device)
        before_BT = (mask_B1TS[:, 0].tril(-1) * places_S).amax(dim=2)
        before_BTD = x_BTD.take_along_dim(before_BT[..., None], dim=1)
    return before_BTD * (positions_BT > 0)[..., None]


def _start(name: str, weight: Tensor, config: ModelConfig, generator: torch.Generator) -> None:
    """Set one weight to where it starts."""
    speed = "embedding_norm" in config.extras
    if weight.ndim == 0:
        _start_scale(name, weight, config)
    elif weight.ndim == 1:
        weight.fill_(0.0 if name.endswith("bias") else 1.0)
    elif name.endswith(("o_proj.weight", "down_proj.weight")):
        weight.zero_()
    elif name == "model.embed_tokens.weight":
        weight.normal_(0, 0.02 if config.tied_head else 0.8 if speed else 1.0, generator=generator)
    elif name == "lm_head.weight":
        weight.normal_(0, 0.001, generator=generator)
    elif name.endswith("_gate.weight"):
        weight.uniform_(0, 0.02, generator=generator)
    else:
        bound = (3 / (config.width if "embed_values" in name else weight.shape[1])) ** 0.5
        bound *= 0.4 if speed and "mlp" in name else 1.0
        weight.uniform_(-bound, bound, generator=generator)


def _start_scale(name: str, weight: Tensor, config: ModelConfig) -> None:
    parts = name.split(".")
    depth = int(parts[2]) / max(1, config.layers - 1) if parts[1] == "layers" else 0.0  # 0 at the first layer, 1 at the last
    weight.fill_(
        {
            "residual_scale": 1.15 - 0.10 * depth,
            "start_scale": 0.20 - 0.15 * depth,
            "smear_scale": 0.0,
            "backout_scale": 0.2,
        }[parts[-1]]
    )


def _start_gpt2(name: str, weight: Tensor, config: ModelConfig, generator: torch.Generator) -> None:
    if weight.ndim == 1:
        weight.fill_(0.0 if name.endswith("bias") else 1.0)
    else:
        into_stream = name.endswith(("o_proj.weight", "down_proj.weight"))
        deviation = 0.02 / (2 * config.layers) ** 0.5 if into_stream else 0.01 if "positions" in name else 0.02
        weight.normal_(0, deviation, generator=generator)
