"""Read a Llama from a GGUF file, llama.cpp's format. The one place that imports the library `gguf`.

Shapes: D model width, H heads, K head width.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ropewalk.model.checkpoint import HEAD, TextEnds
from ropewalk.model.config import ModelConfig
from ropewalk.model.foreign import Foreign
from ropewalk.runtime.errors import InputError, MachineError
from ropewalk.tokenizer.files import TEMPLATE_FILE, TOKENIZER_CONFIG, TOKENIZER_JSON, described_bpe, write_json

_OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": HEAD,
}
_INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}

# How text is split before BPE, by the names that llama.cpp gives to ways of splitting.
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}
PRE_TOKENIZERS: Mapping[str, Mapping[str, Any]] = {
    "gpt-2": _BYTES,
    "smollm": {"type": "Sequence", "pretokenizers": [_DIGITS, _BYTES]},
}
NORMAL_TOKEN, SPECIAL_TOKEN = 1, 3
ENDS = ("<|im_end|>", "<|endoftext|>")  # llama.cpp too ends at these, whatever the file names as its end


def open_gguf(path: Path) -> Foreign:
    """A Llama in a GGUF file, with its tokenizer; weights are dequantised to float32 as they are read.

    Raises:
        MachineError: the library gguf is not installed.
        InputError: not a GGUF file, another architecture, or a tokenizer of another kind.
    """
    try:
        from gguf import GGUFReader, LlamaFileType, dequantize
    except ModuleNotFoundError:
        raise MachineError("reading GGUF needs the library gguf: pip install 'gguf>=0.17,<1'") from None
    try:
        reader = GGUFReader(path)
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(f"{path} is not a whole GGUF file ({error}): download it again") from None
    fields = _Fields({name: field.contents for name, field in reader.fields.items()}, path)
    tensors = {_hugging_face_name(tensor.name, path): tensor for tensor in reader.tensors}
    shapes = {name: tuple(reversed(tensor.shape.tolist())) for name, tensor in tensors.items()}
    config = _config(fields, shapes)
    names, special = _special(fields)

    def read(name: str) -> Tensor:
        found = tensors[name]
        try:
            plain = dequantize(found.data, found.tensor_type)
        except NotImplementedError:
            raise InputError(
                f"{path} stores {found.name} as {found.tensor_type.name}, which cannot be read: take a file with Q8_0"
            ) from None
        weight = torch.from_numpy(np.require(plain, np.float32, ["W"]))
        if name.endswith("q_proj.weight"):
            return half_split(weight, config.query_heads)
        if name.endswith("k_proj.weight"):
            return half_split(weight, config.key_value_heads)
        return weight

    def write_tokenizer(folder: Path) -> None:
        _write_tokenizer(folder, fields, names, special)

    stop = fields.optional("tokenizer.ggml.eos_token_id")
    stop_ids = [*([] if stop is None else [stop]), *(special[name] for name in ENDS if special.get(name, stop) != stop)]
    kind = LlamaFileType(fields.optional("general.file_type") or 0).name.removeprefix("MOSTLY_").removeprefix("ALL_")
    return Foreign(
        config=config,
        ends=TextEnds(
            start_id=fields.optional("tokenizer.ggml.bos_token_id"),
            stop_ids=stop_ids,
            pad_id=fields.optional("tokenizer.ggml.padding_token_id"),
        ),
        shapes=shapes,
        read=read,
        write_tokenizer=write_tokenizer,
        generation={},
        about={
            "name": path.stem.removesuffix(f".{kind}").removesuffix(f"-{kind}"),
            "licence": fields.optional("general.license") or "not stated",
            "organization": fields.optional("general.organization") or "not stated",
            "name_in_file": fields.optional("general.name") or "not stated",
            "source": path.name,
            "stored_as": kind,
        },
    )


def half_split(weight: Tensor, heads: int) -> Tensor:
    """Undo llama.cpp's order of rows, in which rotary pairs are neighbours: `rotate` pairs row i with row i + K/2.

    (H x K, D) in and out. The inverse of `permute` in llama.cpp's convert_hf_to_gguf.py.
    """
    rows, width = weight.shape
    return weight.view(heads, rows // heads // 2, 2, width).transpose(1, 2).reshape(rows, width)


class _Fields:
    """The file's settings by name; a missing one is a sentence."""

    def __init__(self, contents: Mapping[str, Any], path: Path) -> None:
        self._contents, self.path = contents, path

    def optional(self, name: str) -> Any:
        return self._contents[name]() if name in self._contents else None

    def __getitem__(self, name: str) -> Any:
        if name not in self._contents:
            raise InputError(f"{self.path} lacks {name}: take another file of this model")
        return self._contents[name]()


def _hugging_face_name(name: str, path: Path) -> str:
    if name in _OUTER:
        return _OUTER[name]
    match name.split("."):
        case ["blk", number, part, "weight"] if part in _INNER:
            return f"model.layers.{number}.{_INNER[part]}.weight"
    raise InputError(f"{path} has a tensor {name}, which this ropewalk has no use for: take a plain Llama")


def _config(fields: _Fields, shapes: Mapping[str, tuple[int, ...]]) -> ModelConfig:
    kind = fields["general.architecture"]
    if kind != "llama":
        raise InputError(f"{fields.path} holds a {kind!r} model; from GGUF this ropewalk reads 'llama'")
    if fields.optional("llama.rope.scaling.type") not in (None, "none") or fields.optional("llama.expert_count"):
        raise InputError(f"{fields.path} asks for scaled rotary positions or experts, which this ropewalk does not have yet")
    width, heads = fields["llama.embedding_length"], fields["llama.attention.head_count"]
    head_width = fields.optional("llama.attention.key_length") or width // heads
    if fields.optional("llama.rope.dimension_count") not in (None, head_width):
        raise InputError(f"{fields.path} rotates only a part of each head, which this ropewalk does not")
    return ModelConfig(
        vocabulary=shapes.get(_OUTER["token_embd.weight"], (0,))[0],  # may be more than the tokens, for round numbers
        width=width,
        layers=fields["llama.block_count"],
        query_heads=heads,
        key_value_heads=fields.optional("llama.attention.head_count_kv") or heads,
        head_width=head_width,
        feed_forward_width=fields["llama.feed_forward_length"],
        context_tokens=fields["llama.context_length"],
        rope_theta=_decimal(fields.optional("llama.rope.freq_base") or 10_000.0),
        norm_epsilon=_decimal(fields["llama.attention.layer_norm_rms_epsilon"]),
        tied_head=HEAD not in shapes,
        qk_norm=False,
    )


def _decimal(single: float) -> float:
    """The short decimal that was written as float32: 1e-5, where the file gives 9.999999747378752e-06."""
    return float(str(np.float32(single)))


def _special(fields: _Fields) -> tuple[list[str], dict[str, int]]:
    """All tokens as the file writes them, by id, and the ids of the special ones."""
    if fields["tokenizer.ggml.model"] != "gpt2" or fields.optional("tokenizer.ggml.pre") not in PRE_TOKENIZERS:
        kind = f"{fields['tokenizer.ggml.model']}, {fields.optional('tokenizer.ggml.pre')}"
        raise InputError(f"{fields.path} has a tokenizer of a kind ({kind}) that this ropewalk does not read yet")
    names, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    odd = next((name for name, kind in zip(names, kinds, strict=True) if kind not in (NORMAL_TOKEN, SPECIAL_TOKEN)), None)
    if odd is not None:
        raise InputError(
            f"{fields.path}: its token {odd!r} is neither plain nor special, which this ropewalk does not read yet"
        )
    return names, {name: index for index, name in enumerate(names) if kinds[index] == SPECIAL_TOKEN}


def _write_tokenizer(folder: Path, fields: _Fields, names: list[str], special: Mapping[str, int]) -> None:
    described = described_bpe(
        vocab={name: index for index, name in enumerate(names)},
        merges=[merge.split(" ") for merge in fields["tokenizer.ggml.merges"]],
        special=special,
        pre_tokenizer=PRE_TOKENIZERS[fields["tokenizer.ggml.pre"]],
    )
    write_json(folder / TOKENIZER_JSON, described)
    parts = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    ids = {part: fields.optional(f"tokenizer.ggml.{short}_token_id") for part, short in parts.items()}
    played = {part: names[index] for part, index in ids.items() if index is not None}
    others = [name for name in special if name not in played.values()]
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **played, "extra_special_tokens": others}
    write_json(folder / TOKENIZER_CONFIG, {**config, "clean_up_tokenization_spaces": False})
    if template := fields.optional("tokenizer.chat_template"):
        (folder / TEMPLATE_FILE).write_text(template, encoding="utf-8")
