"""The shape of a model, and the dials that derive it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ropewalk.runtime.errors import OptionError

HEAD_WIDTH = 64
VALUE_GATE_CHANNELS, SMEAR_CHANNELS = 12, 24  # of the width, that a gate looks at (nanochat's numbers)

Preset = Literal["portable", "speed", "gpt2"]
Extra = Literal["embedding_norm", "sharp_attention", "value_embeddings", "residual_scales", "smear", "backout"]
EXTRAS: tuple[Extra, ...] = get_args(Extra)


@dataclass(frozen=True)
class RopeScaling:
    """How a model turns its positions on contexts longer than those it was first trained on.

    "linear" divides all angles by `factor` (Chen et al. 2023, position interpolation). "llama3" divides those of the pairs
    alone whose wavelength is longer than `original_context_tokens / low_frequency_factor`, leaves those shorter than
    `original_context_tokens / high_frequency_factor`, and blends between (Llama 3.1's).
    """

    kind: Literal["linear", "llama3"]
    factor: float
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_context_tokens: int = 8192


@dataclass(frozen=True)
class ModelConfig:
    """The decoder: norm, attention, norm, feed-forward, a residual stream around both, and switches for what differs.

    Widths are in units of activations, `context_tokens` is the longest sequence trained on.

    norm: root mean square with a weight, the same without one, or LayerNorm with weight and bias.
    qk_norm: normalise queries and keys; with a weight unless the norm is bare. It sets Qwen3's shape from Llama's.
    softcap: bound the logits z to softcap * tanh(z / softcap) (Gemma 2).
    extras: what the speed runs of modded-nanogpt and nanochat found to learn faster; no other program loads such a model.
        embedding_norm     a bare norm after the embedding
        sharp_attention    scores 1.44 times as large (with QK-norm)
        value_embeddings   every other layer adds an embedding of the token to its values, gated by head (Zhou et al. 2024)
        residual_scales    each layer scales what comes in and mixes the embedding in again
        smear              a token's embedding carries a gated share of that of the token before
        backout            half-way's hidden state is subtracted, scaled, before the last norm
    """

    vocabulary: int
    width: int
    layers: int
    query_heads: int
    key_value_heads: int
    head_width: int
    feed_forward_width: int
    context_tokens: int
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-6
    tied_head: bool = False
    qk_norm: bool = True
    norm: Literal["rms", "bare_rms", "layer"] = "rms"
    positions: Literal["rotary", "learned"] = "rotary"
    rope_scaling: RopeScaling | None = None
    attention_bias: Literal["none", "qkv", "all"] = "none"
    feed_forward: Literal["swiglu", "squared_relu", "gelu"] = "swiglu"
    feed_forward_bias: bool = False
    softcap: float | None = None
    extras: tuple[Extra, ...] = ()

    def __post_init__(self) -> None:
        if self.query_heads % self.key_value_heads:
            raise OptionError(
                f"{self.query_heads} query heads cannot share {self.key_value_heads} key/value heads: "
                "make the first a multiple of the second"
            )
        if "smear" in self.extras and self.width < SMEAR_CHANNELS:
            raise OptionError(f"width {self.width} is too narrow for the preset 'speed': take {SMEAR_CHANNELS} or more")

    def has_value_embedding(self, layer: int) -> bool:
        """Every other layer, the last among them."""
        return "value_embeddings" in self.extras and (self.layers - 1 - layer) % 2 == 0

    @property
    def matrix_parameters(self) -> int:
        """Weights that each token is multiplied with: all but embedding tables, biases, norms and gates."""
        attention = self.width * self.head_width * (2 * self.query_heads + 2 * self.key_value_heads)
        feed_forward = (3 if self.feed_forward == "swiglu" else 2) * self.width * self.feed_forward_width
        return self.layers * (attention + feed_forward) + self.vocabulary * self.width

    @property
    def parameters(self) -> int:
        """All weights, embedding tables, biases, norms and gates too."""
        D, H, G, K, F = self.width, self.query_heads, self.key_value_heads, self.head_width, self.feed_forward_width
        norm = {"rms": D, "bare_rms": 0, "layer": 2 * D}[self.norm]
        head_norms = 2 * K if self.qk_norm and self.norm != "bare_rms" else 0
        biases = {"none": 0, "qkv": H * K + 2 * G * K, "all": H * K + 2 * G * K + D}[self.attention_bias]
        biases += (D + F + (F if self.feed_forward == "swiglu" else 0)) if self.feed_forward_bias else 0
        scales = 2 if "residual_scales" in self.extras else 0
        total = self.matrix_parameters + self.layers * (2 * norm + head_norms + biases + scales) + norm
        total += 0 if self.tied_head else self.vocabulary * D
        total += self.context_tokens * D if self.positions == "learned" else 0
        valued = sum(self.has_value_embedding(layer) for layer in range(self.layers))
        total += valued * (self.vocabulary * G * K + VALUE_GATE_CHANNELS * G)
        return total + (SMEAR_CHANNELS + 1 if "smear" in self.extras else 0) + ("backout" in self.extras)

    @property
    def kept_values_per_token(self) -> int:
        """Numbers that a forward pass leaves for the backward pass (after Korthikanti et al. 2022, without the scores)."""
        attention = 2 * self.query_heads * self.head_width + 4 * self.key_value_heads * self.head_width
        feed_forward = (3 if self.feed_forward == "swiglu" else 2) * self.feed_forward_width
        return self.layers * (6 * self.width + 2 * attention + feed_forward) + 2 * self.width

    @property
    def training_flops_per_token(self) -> float:
        """Forward and backward, 6 per weight, and attention over half of a full context (Hoffmann et al. 2022, app. F)."""
        scores = 6 * self.layers * self.query_heads * self.head_width * self.context_tokens
        return 6.0 * self.matrix_parameters + scores


def portable(
    *, depth: int, vocabulary: int, context_tokens: int, width: int | None = None, head_width: int = HEAD_WIDTH
) -> ModelConfig:
    """Derive a `portable` shape from its depth: width 64 a layer (nanochat's rule), heads of 64, half as many for keys.

    Qwen3's shape, which others load as it is. The feed-forward width is 8/3 of the width, the parameters of a plain 4x MLP
    (Shazeer 2020), rounded up to 64.
    """
    width, query_heads = _heads(depth, width, head_width)
    return ModelConfig(
        vocabulary=vocabulary,
        width=width,
        layers=depth,
        query_heads=query_heads,
        key_value_heads=query_heads // 2 if query_heads % 2 == 0 else query_heads,
        head_width=head_width,
        feed_forward_width=-(-8 * width // 3 // 64) * 64,
        context_tokens=context_tokens,
    )


def speed(
    *, depth: int, vocabulary: int, context_tokens: int, width: int | None = None, head_width: int = HEAD_WIDTH
) -> ModelConfig:
    """Derive a `speed` shape from its depth: what learns most in a given time, and only ropewalk loads.

    The mathematics of nanochat's model (commit 92d63d4) with all layers looking at the whole context: squared ReLU (So et
    al. 2021), bare norms, capped logits, the extras, as many keys as queries.
    """
    width, query_heads = _heads(depth, width, head_width)
    return ModelConfig(
        vocabulary=vocabulary,
        width=width,
        layers=depth,
        query_heads=query_heads,
        key_value_heads=query_heads,
        head_width=head_width,
        feed_forward_width=4 * width,
        context_tokens=context_tokens,
        rope_theta=100_000.0,
        norm="bare_rms",
        feed_forward="squared_relu",
        softcap=15.0,
        extras=EXTRAS,
    )


def gpt2(
    *, depth: int, vocabulary: int, context_tokens: int, width: int | None = None, head_width: int = HEAD_WIDTH
) -> ModelConfig:
    """Derive GPT-2's shape (Radford et al. 2019): depth 12, 24, 36, 48 with width 768, 1024, 1280, 1600 are the published.

    Other depths get 64 a layer, as the smallest has.
    """
    width, heads = _heads(depth, width or GPT2_WIDTHS.get(depth), head_width)
    return ModelConfig(
        vocabulary=vocabulary,
        width=width,
        layers=depth,
        query_heads=heads,
        key_value_heads=heads,
        head_width=head_width,
        feed_forward_width=4 * width,
        context_tokens=context_tokens,
        norm_epsilon=1e-5,
        tied_head=True,
        qk_norm=False,
        norm="layer",
        positions="learned",
        attention_bias="all",
        feed_forward="gelu",
        feed_forward_bias=True,
    )


GPT2_WIDTHS = {12: 768, 24: 1024, 36: 1280, 48: 1600}
PRESETS = {"portable": portable, "speed": speed, "gpt2": gpt2}


def _heads(depth: int, width: int | None, head_width: int) -> tuple[int, int]:
    """The width and how many heads it is divided into."""
    width = width or HEAD_WIDTH * depth
    if width % head_width:
        raise OptionError(
            f"width {width} is not a multiple of the head width {head_width}: take {-(-width // head_width) * head_width}"
        )
    return width, width // head_width
