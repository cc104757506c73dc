"""`ropewalk export`: one of our models as a GGUF file, llama.cpp's format.

Shapes: D model width, H heads, K head width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import FlagCreatePairsOff

from ropewalk.artifact import open_artifact
from ropewalk.runtime.errors import InputError, MachineError, OptionError
from ropewalk.runtime.progress import progress, say

if TYPE_CHECKING:
    import numpy as np

    from ropewalk.model.config import ModelConfig
    from ropewalk.model.transformer import Transformer

BLOCK = 32  # weights that Q8_0 quantises together
_OUTER = {
    "model.embed_tokens": "token_embd",
    "model.embed_positions": "position_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
_INNER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Write a model as a GGUF file, for llama.cpp. transformers and vLLM load the model's folder as it is."""

    model: Path
    """The model."""
    adapter: Path | None = None
    """A LoRA adapter to merge into it: a folder in PEFT's format."""
    out: Path
    """The file to write, as runs/tiny/model.gguf."""
    stored: Literal["f32", "f16", "q8_0"] = "f16"
    """How matrices are stored: exactly, in half the bytes, or in a quarter."""
    force: FlagCreatePairsOff[bool] = False
    """Write over a file that stands there."""


def run_export(options: ExportOptions) -> None:
    """Write the file.

    Raises:
        OptionError: a file stands there. ArtifactError: no model.
        InputError: a shape or a tokenizer that GGUF, or this writer, has no name for; an adapter of another model.
        MachineError: the library gguf is not installed.
    """
    if options.out.exists() and not options.force:
        raise OptionError(f"{options.out} is there already: choose another name, or write over it with --force")
    try:
        import gguf
    except ModuleNotFoundError:
        raise MachineError("writing GGUF needs the library gguf: pip install 'gguf>=0.17,<1'") from None
    from ropewalk.model.checkpoint import load_model
    from ropewalk.model.families import to_hugging_face

    folder = open_artifact(options.model, "model").path
    model = load_model(folder, adapter=options.adapter)
    kind = to_hugging_face(model.config)["model_type"]
    if kind not in ("llama", "qwen2", "qwen3", "gpt2") or model.config.rope_scaling:
        raise InputError(f"{options.model} has a shape that llama.cpp does not: only {kind!r} itself reads it")
    draft = options.out.with_name(options.out.name + ".draft")
    writer = gguf.GGUFWriter(draft, kind)
    _write_shape(writer, model.config, kind)
    _write_tokenizer(writer, folder)
    writer.add_name(folder.resolve().name)
    file_types = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0"}
    writer.add_file_type(gguf.LlamaFileType[file_types[options.stored]].value)
    with progress("export", total=None, unit="tensors") as bar:
        for name, array in _tensors(model, kind).items():
            matrix = array.ndim == 2 and "position" not in name
            if matrix and options.stored == "q8_0" and array.shape[1] % BLOCK == 0:
                quantised = gguf.GGMLQuantizationType.Q8_0
                writer.add_tensor(name, gguf.quantize(array, quantised), raw_dtype=quantised)
            else:
                writer.add_tensor(name, array.astype("float16") if matrix and options.stored != "f32" else array)
            bar.advance(1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    draft.replace(options.out)
    say(f"{options.out}: {kind}, {options.stored}, {options.out.stat().st_size / 1e6:.1f} MB")


def _write_shape(writer: Any, config: ModelConfig, kind: str) -> None:
    writer.add_context_length(config.context_tokens)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.feed_forward_width)
    writer.add_head_count(config.query_heads)
    writer.add_vocab_size(config.vocabulary)
    if kind == "gpt2":
        writer.add_layer_norm_eps(config.norm_epsilon)
        return
    writer.add_head_count_kv(config.key_value_heads)
    writer.add_key_length(config.head_width)
    writer.add_value_length(config.head_width)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    if kind == "llama":
        writer.add_rope_dimension_count(config.head_width)


def _tensors(model: Transformer, kind: str) -> Mapping[str, np.ndarray]:
    """The weights under llama.cpp's names and in its layout."""
    import torch

    config, found = model.config, {}
    for name, weight in model.state_dict().items():
        if config.tied_head and name == "lm_head.weight":
            continue
        if kind == "llama" and ".q_proj." in name:
            weight = interleaved(weight, config.query_heads)
        if kind == "llama" and ".k_proj." in name:
            weight = interleaved(weight, config.key_value_heads)
        found[_name(name)] = weight
    if kind == "gpt2":
        for layer in range(config.layers):
            for end in ("weight", "bias"):
                parts = [found.pop(f"blk.{layer}.attn_{part}.{end}") for part in "qkv"]
                found[f"blk.{layer}.attn_qkv.{end}"] = torch.cat(parts)
    return {name: weight.detach().float().contiguous().numpy() for name, weight in found.items()}


def _name(name: str) -> str:
    stem, _, end = name.rpartition(".")
    if stem in _OUTER:
        return f"{_OUTER[stem]}.{end}"
    _, _, layer, within = stem.split(".", 3)
    return f"blk.{layer}.{_INNER[within]}.{end}"


def interleaved(weight: Any, heads: int) -> Any:
    """Put rotary pairs side by side, as llama.cpp has a Llama's: the inverse of `gguf_file.half_split`."""
    rows, rest = weight.shape[0], weight.shape[1:]
    return weight.view(heads, 2, rows // heads // 2, *rest).transpose(1, 2).reshape(rows, *rest)


def _write_tokenizer(writer: Any, folder: Path) -> None:
    from ropewalk.model.checkpoint import GENERATION_CONFIG
    from ropewalk.model.gguf_file import NORMAL_TOKEN, PRE_TOKENIZERS, SPECIAL_TOKEN
    from ropewalk.tokenizer.files import TOKENIZER_JSON, read_chat_template
    from ropewalk.tokenizer.pattern import GPT2, GPT4
    from ropewalk.tokenizer.reading import read_vocabulary, split_pattern
    from ropewalk.tokenizer.special import TURN_END

    spec = json.loads((folder / TOKENIZER_JSON).read_text(encoding="utf-8"))
    pattern = split_pattern(read_vocabulary(folder / TOKENIZER_JSON).pre_tokenizer)
    # llama.cpp's names for ways to split; DBRX splits as GPT-4 does.
    known = {GPT2: "gpt-2", GPT4: "dbrx", **{split_pattern(dict(pre)): name for name, pre in PRE_TOKENIZERS.items()}}
    if pattern not in known:
        raise InputError(f"{folder} splits text in a way that llama.cpp has no name for here: {pattern}")
    special = {token["content"]: token["id"] for token in spec["added_tokens"] if token["special"]}
    by_id = {index: token for token, index in {**spec["model"]["vocab"], **special}.items()}
    tokens = [by_id[index] for index in range(len(by_id))]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in spec["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(known[pattern])
    writer.add_token_list(tokens)
    writer.add_token_types([SPECIAL_TOKEN if token in special else NORMAL_TOKEN for token in tokens])
    writer.add_token_merges(merges)
    ids = json.loads((folder / GENERATION_CONFIG).read_text(encoding="utf-8"))
    stop = ids.get("eos_token_id")
    for add, value in (
        (writer.add_bos_token_id, ids.get("bos_token_id")),
        (writer.add_eos_token_id, stop[0] if isinstance(stop, list) else stop),
        (writer.add_pad_token_id, ids.get("pad_token_id")),
        (writer.add_eot_token_id, special.get(TURN_END)),
    ):
        if value is not None:
            add(value)
    writer.add_add_bos_token(False)
    if template := read_chat_template(folder):
        writer.add_chat_template(template.text)
