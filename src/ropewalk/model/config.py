"""The shape of a model, and the one dial that derives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ropewalk.runtime.errors import InputError, OptionError

HEAD_WIDTH = 64


@dataclass(frozen=True)
class ModelConfig:
    """The `portable` decoder: RoPE, RMSNorm before each block, QK-norm, SwiGLU, grouped queries, no biases.

    Widths are in units of activations, `context_tokens` is the longest sequence trained on.
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

    def __post_init__(self) -> None:
        if self.query_heads % self.key_value_heads:
            raise OptionError(
                f"{self.query_heads} query heads cannot share {self.key_value_heads} key/value heads: "
                "make the first a multiple of the second"
            )

    @property
    def matrix_parameters(self) -> int:
        """Weights that each token is multiplied with: all but the embedding table and the norms' vectors."""
        attention = self.width * self.head_width * (2 * self.query_heads + 2 * self.key_value_heads)
        return self.layers * (attention + 3 * self.width * self.feed_forward_width) + self.vocabulary * self.width

    @property
    def training_flops_per_token(self) -> float:
        """Forward and backward, 6 per weight, and attention over half of a full context (Hoffmann et al. 2022, app. F)."""
        scores = 6 * self.layers * self.query_heads * self.head_width * self.context_tokens
        return 6.0 * self.matrix_parameters + scores

    def to_hugging_face(self) -> dict[str, Any]:
        """The same shape as a Qwen3 `config.json`."""
        return {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "vocab_size": self.vocabulary,
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.query_heads,
            "num_key_value_heads": self.key_value_heads,
            "head_dim": self.head_width,
            "intermediate_size": self.feed_forward_width,
            "max_position_embeddings": self.context_tokens,
            "rope_theta": self.rope_theta,
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},
            "rms_norm_eps": self.norm_epsilon,
            "tie_word_embeddings": self.tied_head,
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "use_sliding_window": False,
            "dtype": "float32",
        }

    @classmethod
    def from_hugging_face(cls, config: Mapping[str, Any], *, where: str) -> ModelConfig:
        """Read a Qwen3 `config.json`.

        Raises:
            InputError: another architecture, or one of Qwen3's variations that this decoder does not have.
        """
        if config.get("model_type") != "qwen3":
            raise InputError(f"{where} describes a {config.get('model_type')!r} model; this ropewalk reads 'qwen3' folders")
        if config.get("attention_bias") or config.get("use_sliding_window"):
            raise InputError(f"{where} asks for attention biases or sliding windows, which this ropewalk does not have yet")
        rope = config.get("rope_parameters") or {}
        if rope.get("rope_type", "default") != "default" or config.get("rope_scaling"):
            raise InputError(f"{where} asks for scaled rotary positions, which this ropewalk does not have yet")
        try:
            return cls(
                vocabulary=config["vocab_size"],
                width=config["hidden_size"],
                layers=config["num_hidden_layers"],
                query_heads=config["num_attention_heads"],
                key_value_heads=config["num_key_value_heads"],
                head_width=config["head_dim"],
                feed_forward_width=config["intermediate_size"],
                context_tokens=config["max_position_embeddings"],
                rope_theta=float(rope.get("rope_theta", config.get("rope_theta", 10_000.0))),
                norm_epsilon=config["rms_norm_eps"],
                tied_head=config["tie_word_embeddings"],
            )
        except KeyError as error:
            raise InputError(f"{where} lacks {error.args[0]!r}: it is not a whole config.json") from None


def portable(*, depth: int, vocabulary: int, context_tokens: int, width: int | None = None) -> ModelConfig:
    """Derive a `portable` shape from its depth: width 64 a layer (nanochat's rule), heads of 64, half as many for keys.

    The feed-forward width is 8/3 of the width, the parameters of a plain 4x MLP (Shazeer 2020), rounded up to 64.
    """
    width = width or HEAD_WIDTH * depth
    if width % HEAD_WIDTH:
        raise OptionError(
            f"width {width} is not a multiple of the head width {HEAD_WIDTH}: take {-(-width // HEAD_WIDTH) * HEAD_WIDTH}"
        )
    query_heads = width // HEAD_WIDTH
    return ModelConfig(
        vocabulary=vocabulary,
        width=width,
        layers=depth,
        query_heads=query_heads,
        key_value_heads=query_heads // 2 if query_heads % 2 == 0 else query_heads,
        head_width=HEAD_WIDTH,
        feed_forward_width=-(-8 * width // 3 // 64) * 64,
        context_tokens=context_tokens,
    )
