"""Models that other programs know: how `config.json` describes them, and how their files name and lay out weights.

Llama (SmolLM2 and others are Llamas), Qwen2, Qwen3 and GPT-2 are read and written as Hugging Face's transformers does. A
shape that is none of these is written under the model type `ropewalk`, which only ropewalk reads.

Our own names of weights are those of Llama and Qwen: only GPT-2's files differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ropewalk.model.config import EXTRAS, ModelConfig, RopeScaling, gpt2
from ropewalk.runtime.errors import InputError

OWN = "ropewalk"
HEAD = "lm_head.weight"


def to_hugging_face(config: ModelConfig) -> dict[str, Any]:
    """The shape as a `config.json` of the family that has it."""
    for family in FAMILIES.values():
        if family.covers(config):
            return family.describe(config)
    return {"architectures": ["RopewalkForCausalLM"], "model_type": OWN, **asdict(config), "dtype": "float32"}


def from_hugging_face(described: Mapping[str, Any], *, where: str) -> ModelConfig:
    """Read the shape out of a `config.json`.

    Raises:
        InputError: another architecture, or a variation of one that this decoder does not have.
    """
    kind = described.get("model_type")
    try:
        if kind == OWN:
            return _own(described)
        if kind not in FAMILIES:
            known = ", ".join(repr(name) for name in sorted(FAMILIES))
            raise InputError(f"{where} describes a {kind!r} model; this ropewalk reads {known} folders")
        return FAMILIES[kind].read(described, where)
    except KeyError as error:
        raise InputError(f"{where} lacks {error.args[0]!r}: it is not a whole config.json") from None


@dataclass(frozen=True)
class Family:
    """covers: whether it has this shape. describe: its `config.json`. read: the shape of one, or an InputError."""

    covers: Callable[[ModelConfig], bool]
    describe: Callable[[ModelConfig], dict[str, Any]]
    read: Callable[[Mapping[str, Any], str], ModelConfig]


def _covers_llama(config: ModelConfig, *, biases: tuple[str, ...], qk_norm: bool) -> bool:
    """Whether it is a Llama but for the biases and QK-norm that are given."""
    plain = replace(config, qk_norm=True, attention_bias="none", feed_forward_bias=False, rope_scaling=None)
    other = ModelConfig(**{field: getattr(plain, field) for field in SIZES})
    return plain == other and config.attention_bias in biases and config.qk_norm == qk_norm


SIZES = (
    "vocabulary", "width", "layers", "query_heads", "key_value_heads", "head_width", "feed_forward_width", "context_tokens",
    "rope_theta", "norm_epsilon", "tied_head",
)  # fmt: skip


def _describe_llama(name: str, kind: str, config: ModelConfig, last: Mapping[str, Any]) -> dict[str, Any]:
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_theta}
    if scaling := config.rope_scaling:
        rope |= {"rope_type": scaling.kind, "factor": scaling.factor}
        if scaling.kind == "llama3":
            rope |= {
                "low_freq_factor": scaling.low_frequency_factor,
                "high_freq_factor": scaling.high_frequency_factor,
                "original_max_position_embeddings": scaling.original_context_tokens,
            }
    return {
        "architectures": [name],
        "model_type": kind,
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.query_heads,
        "num_key_value_heads": config.key_value_heads,
        "head_dim": config.head_width,
        "intermediate_size": config.feed_forward_width,
        "max_position_embeddings": config.context_tokens,
        "rope_theta": config.rope_theta,
        "rope_parameters": rope,
        "rms_norm_eps": config.norm_epsilon,
        "tie_word_embeddings": config.tied_head,
        "hidden_act": "silu",
        "attention_bias": config.attention_bias == "all",
        "attention_dropout": 0.0,
        **last,
        "dtype": "float32",
    }


def _read_llama(described: Mapping[str, Any], where: str) -> ModelConfig:
    kind = described["model_type"]
    if described.get("use_sliding_window"):
        raise InputError(f"{where} asks for sliding windows, which this ropewalk does not have")
    if described.get("hidden_act", "silu") != "silu":
        raise InputError(f"{where} asks for the activation {described['hidden_act']!r}, but such models have silu here")
    width, heads = described["hidden_size"], described["num_attention_heads"]
    rope = described.get("rope_parameters") or described.get("rope_scaling") or {}
    bias = "qkv" if kind == "qwen2" else "all" if described.get("attention_bias") else "none"
    return ModelConfig(
        vocabulary=described["vocab_size"],
        width=width,
        layers=described["num_hidden_layers"],
        query_heads=heads,
        key_value_heads=described.get("num_key_value_heads") or heads,
        head_width=described["head_dim"] if kind == "qwen3" else described.get("head_dim") or width // heads,
        feed_forward_width=described["intermediate_size"],
        context_tokens=described["max_position_embeddings"],
        rope_theta=float(rope.get("rope_theta", described.get("rope_theta", 10_000.0))),
        norm_epsilon=described["rms_norm_eps"],
        tied_head=described.get("tie_word_embeddings", False),
        qk_norm=kind == "qwen3",
        rope_scaling=_read_scaling(rope, where),
        attention_bias=bias,
        feed_forward_bias=bool(described.get("mlp_bias")),
    )


def _read_scaling(rope: Mapping[str, Any], where: str) -> RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind == "linear":
        return RopeScaling("linear", float(rope["factor"]))
    if kind == "llama3":
        return RopeScaling(
            "llama3",
            float(rope["factor"]),
            float(rope["low_freq_factor"]),
            float(rope["high_freq_factor"]),
            int(rope["original_max_position_embeddings"]),
        )
    raise InputError(f"{where} asks for rotary positions scaled by {kind!r}; this ropewalk has 'linear' and 'llama3'")


def _covers_gpt2(config: ModelConfig) -> bool:
    whole_heads = config.query_heads * config.head_width == config.width
    fixed = replace(config, **{field: getattr(_A_GPT2, field) for field in SIZES if field != "tied_head"})
    return whole_heads and config.key_value_heads == config.query_heads and replace(fixed, tied_head=True) == _A_GPT2


_A_GPT2 = gpt2(depth=12, vocabulary=50257, context_tokens=1024)


def _describe_gpt2(config: ModelConfig) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": config.vocabulary,
        "n_positions": config.context_tokens,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.query_heads,
        "n_inner": config.feed_forward_width,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": config.norm_epsilon,
        "tie_word_embeddings": config.tied_head,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "dtype": "float32",
    }


def _read_gpt2(described: Mapping[str, Any], where: str) -> ModelConfig:
    activation = described.get("activation_function", "gelu_new")
    if activation not in ("gelu_new", "gelu_pytorch_tanh"):
        raise InputError(f"{where} asks for the activation {activation!r}, but a GPT-2 has 'gelu_new' here")
    for key in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn"):
        if described.get(key):
            raise InputError(f"{where} asks for {key}, which this ropewalk does not have")
    width, heads = described["n_embd"], described["n_head"]
    return replace(
        _A_GPT2,
        vocabulary=described["vocab_size"],
        width=width,
        layers=described["n_layer"],
        query_heads=heads,
        key_value_heads=heads,
        head_width=width // heads,
        feed_forward_width=described.get("n_inner") or 4 * width,
        context_tokens=described["n_positions"],
        norm_epsilon=described.get("layer_norm_epsilon", 1e-5),
        tied_head=described.get("tie_word_embeddings", True),
    )


def _own(described: Mapping[str, Any]) -> ModelConfig:
    fields = {field: described[field] for field in ModelConfig.__dataclass_fields__}
    scaling, extras = fields["rope_scaling"], tuple(fields["extras"])
    if unknown := set(extras) - set(EXTRAS):
        raise InputError(f"a model with {', '.join(sorted(unknown))} was made by a newer ropewalk: take that one")
    return ModelConfig(**{**fields, "extras": extras, "rope_scaling": RopeScaling(**scaling) if scaling else None})


FAMILIES = {
    "qwen3": Family(
        lambda c: _covers_llama(c, biases=("none", "all"), qk_norm=True) and not c.feed_forward_bias,
        lambda c: _describe_llama("Qwen3ForCausalLM", "qwen3", c, {"use_sliding_window": False}),
        _read_llama,
    ),
    "llama": Family(
        lambda c: _covers_llama(c, biases=("none", "all"), qk_norm=False),
        lambda c: _describe_llama("LlamaForCausalLM", "llama", c, {"mlp_bias": c.feed_forward_bias}),
        _read_llama,
    ),
    "qwen2": Family(
        lambda c: _covers_llama(c, biases=("qkv",), qk_norm=False) and not c.feed_forward_bias,
        lambda c: _describe_llama("Qwen2ForCausalLM", "qwen2", c, {"use_sliding_window": False}),
        _read_llama,
    ),
    "gpt2": Family(_covers_gpt2, _describe_gpt2, _read_gpt2),
}


@dataclass(frozen=True)
class Stored:
    """A tensor in a model's file: which of our weights it holds, one below the other, and whether it lies on its side."""

    names: tuple[str, ...]
    transposed: bool = False

    def join(self, read: Callable[[str], Tensor]) -> Tensor:
        """The tensor as the file has it, from our weights."""
        whole = read(self.names[0]) if len(self.names) == 1 else torch.cat([read(name) for name in self.names])
        return (whole.T if self.transposed and whole.ndim == 2 else whole).contiguous()

    def split(self, tensor: Tensor) -> dict[str, Tensor]:
        """Our weights, from the tensor in the file."""
        whole = tensor.T if self.transposed and tensor.ndim == 2 else tensor
        parts = whole.chunk(len(self.names)) if len(self.names) > 1 else (whole,)
        return dict(zip(self.names, (part.contiguous() for part in parts), strict=True))


def layout(config: ModelConfig, names: list[str]) -> dict[str, Stored]:
    """The tensors of the file that a model of these weights is written to, by their names there; no tied head."""
    ours = [name for name in names if not (config.tied_head and name == HEAD)]
    if not _covers_gpt2(config):
        return {name: Stored((name,)) for name in ours}
    stored: dict[str, Stored] = {}
    for name in ours:
        told = _gpt2_name(name)
        held = stored[told].names if told in stored else ()
        stored[told] = Stored((*held, name), transposed=".attn." in told or ".mlp." in told)
    return stored


_GPT2_NAMES = {
    "model.embed_tokens": "transformer.wte",
    "model.embed_positions": "transformer.wpe",
    "model.norm": "transformer.ln_f",
    "input_layernorm": "ln_1",
    "self_attn.q_proj": "attn.c_attn",
    "self_attn.k_proj": "attn.c_attn",
    "self_attn.v_proj": "attn.c_attn",
    "self_attn.o_proj": "attn.c_proj",
    "post_attention_layernorm": "ln_2",
    "mlp.up_proj": "mlp.c_fc",
    "mlp.down_proj": "mlp.c_proj",
}


def _gpt2_name(name: str) -> str:
    """GPT-2's name for one of our weights."""
    if name == HEAD:
        return name
    stem, _, kind = name.rpartition(".")
    if stem.startswith("model.layers."):
        _, _, number, within = stem.split(".", 3)
        return f"transformer.h.{number}.{_GPT2_NAMES[within]}.{kind}"
    return f"{_GPT2_NAMES[stem]}.{kind}"


def canonical(config: ModelConfig, name: str) -> str | None:
    """The name under which `layout` knows a tensor of a family's file; None for what is no weight.

    GPT-2's published files lack the prefix, and hold the causal mask beside the weights.
    """
    if config.tied_head and name == HEAD:
        return None  # some write it twice
    if not _covers_gpt2(config):
        return name
    if name.endswith((".attn.bias", ".attn.masked_bias")):
        return None
    return name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}"
