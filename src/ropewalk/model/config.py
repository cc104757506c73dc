"""The shape of a model, and the one dial that derives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ropewalk.runtime.errors import InputError, OptionError

HEAD_WIDTH = 64


@dataclass(frozen=True)
class ModelConfig:
    """The decoder: RoPE, RMSNorm before each block, SwiGLU, grouped queries, no biases.

    Widths are in units of activations, `context_tokens` is the longest sequence trained on. `qk_norm` is what sets Qwen3's
    shape, which the `portable` one is, from Llama's.
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
        """The same shape as a `config.json` of Qwen3, or of Llama without QK-norm."""
        if self.qk_norm:
            names, last = ("Qwen3ForCausalLM", "qwen3"), {"use_sliding_window": False}
        else:
            names, last = ("LlamaForCausalLM", "llama"), {"mlp_bias": False}
        return {
            "architectures": [names[0]],
            "model_type": names[1],
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
            **last,
            "dtype": "float32",
        }

    @classmethod
    def from_hugging_face(cls, config: Mapping[str, Any], *, where: str) -> ModelConfig:
        """Read a `config.json` of Qwen3 or Llama.

        Raises:
            InputError: another architecture, or one of their variations that this decoder does not have.
        """
        kind = config.get("model_type")
        if kind not in ("qwen3", "llama"):
            raise InputError(f"{where} describes a {kind!r} model; this ropewalk reads 'llama' and 'qwen3' folders")
        if any(config.get(key) for key in ("attention_bias", "mlp_bias", "use_sliding_window")):
            raise InputError(f"{where} asks for biases or sliding windows, which this ropewalk does not have yet")
        if config.get("hidden_act", "silu") != "silu":
            raise InputError(f"{where} asks for the activation {config['hidden_act']!r}, but this ropewalk has silu alone")
        rope = config.get("rope_parameters") or {}
        if rope.get("rope_type", "default") != "default" or config.get("rope_scaling"):
            raise InputError(f"{where} asks for scaled rotary positions, which this ropewalk does not have yet")
        try:
            width, heads = config["hidden_size"], config["num_attention_heads"]
            return cls(
                vocabulary=config["vocab_size"],
                width=width,
                layers=config["num_hidden_layers"],
                query_heads=heads,
                key_value_heads=config.get("num_key_value_heads") or heads,
                head_width=config["head_dim"] if kind == "qwen3" else config.get("head_dim") or width // heads,
                feed_forward_width=config["intermediate_size"],
                context_tokens=config["max_position_embeddings"],
                rope_theta=float(rope.get("rope_theta", config.get("rope_theta", 10_000.0))),
                norm_epsilon=config["rms_norm_eps"],
                tied_head=config.get("tie_word_embeddings", False),
                qk_norm=kind == "qwen3",
            )
        except KeyError as error:
            raise InputError(f"{where} lacks {error.args[0]!r}: it is not a whole config.json") from None


def portable(
    *, depth: int, vocabulary: int, context_tokens: int, width: int | None = None, head_width: int = HEAD_WIDTH
) -> ModelConfig:
    """Derive a `portable` shape from its depth: width 64 a layer (nanochat's rule), heads of 64, half as many for keys.

    The feed-forward width is 8/3 of the width, the parameters of a plain 4x MLP (Shazeer 2020), rounded up to 64.
    """
    width = width or HEAD_WIDTH * depth
    if width % head_width:
        raise OptionError(
            f"width {width} is not a multiple of the head width {head_width}: take {-(-width // head_width) * head_width}"
        )
    query_heads = width // head_width
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
