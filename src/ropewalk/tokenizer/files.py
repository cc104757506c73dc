"""The tokenizer's files, in the forms that transformers and tiktoken read."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.special import BOUNDARY, PAD

TOKENIZER_JSON = "tokenizer.json"
RANKS = "ranks.tiktoken"
TOKENIZER_CONFIG = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"
TOKENIZER_FILES = (TOKENIZER_JSON, TOKENIZER_CONFIG, TEMPLATE_FILE, RANKS, "token_bytes.npy")
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}

# The same ids as `chat.render` for text without special tokens in it. Where text is not trusted use the renderer:
# a template writes one string, and in a string a user's '<|im_end|>' cannot be told from ours.
CHAT_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' }}
    {%- if message['role'] == 'assistant' %}
        {%- generation %}
            {{- message['content'] + '<|im_end|>' }}
        {%- endgeneration %}
    {%- else %}
        {{- message['content'] + '<|im_end|>' }}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja template, and the special tokens that it may name (`bos_token` and the like)."""

    text: str
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Whether it is the one that `chat` renders without Jinja."""
        return self.text == CHAT_TEMPLATE


OWN_TEMPLATE = ChatTemplate(CHAT_TEMPLATE)


@dataclass(frozen=True)
class Vocabulary:
    """What tokenizer.json describes.

    tokens: bytes and what merging makes of them, in the order of their ids, which are those that `special` leaves free.
    special: the special tokens' ids. pre_tokenizer: how text is split before merging, in Hugging Face's words.
    """

    tokens: Sequence[bytes]
    special: Mapping[str, int]
    pre_tokenizer: Mapping[str, Any]

    @property
    def ids(self) -> dict[bytes, int]:
        """The id of each token that is not special."""
        return dict(zip(self.tokens, free_ids(len(self.tokens), self.special), strict=True))


def free_ids(count: int, special: Mapping[str, int]) -> list[int]:
    """The ids of `count` tokens beside the special ones. Special tokens that leave a gap behind are a mistake of ours."""
    free = sorted(set(range(count + len(special))) - set(special.values()))
    assert len(free) == count, "two special tokens share an id, or one lies outside"
    return free


def split_by(pattern: str) -> Mapping[str, Any]:
    """Hugging Face's words for splitting by a pattern, then taking bytes."""
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, BYTE_LEVEL]}


def read_chat_template(folder: Path) -> ChatTemplate | None:
    """The chat template of a tokenizer's or model's folder, in a file of its own or within tokenizer_config.json.

    Raises:
        InputError: tokenizer_config.json is not JSON.
    """
    config_path, template_path = folder / TOKENIZER_CONFIG, folder / TEMPLATE_FILE
    try:
        config = json.loads(config_path.read_text(encoding="utf-8")) if config_path.is_file() else {}
    except ValueError as error:
        raise InputError(f"{config_path} cannot be read ({error}): restore it, or make the folder again") from None
    text = template_path.read_text(encoding="utf-8") if template_path.is_file() else config.get("chat_template")
    if not isinstance(text, str):
        return None
    named = {key: value.get("content") if isinstance(value, dict) else value for key, value in config.items()}
    tokens = {key: value for key, value in named.items() if key.endswith("_token") and isinstance(value, str)}
    return ChatTemplate(text, tokens)


def write_tokenizer(folder: Path, vocabulary: Vocabulary) -> None:
    """Write all the tokenizer's files."""
    ids = vocabulary.ids
    described = described_bpe(
        vocab={shown_as(token): index for token, index in ids.items()},
        merges=[[shown_as(left), shown_as(right)] for left, right in merges_of(vocabulary.tokens)],
        special=vocabulary.special,
        pre_tokenizer=vocabulary.pre_tokenizer,
    )
    write_json(folder / TOKENIZER_JSON, described)
    write_json(folder / TOKENIZER_CONFIG, _tokenizer_config(vocabulary.special))
    (folder / TEMPLATE_FILE).write_text(CHAT_TEMPLATE, encoding="utf-8")
    write_ranks(folder / RANKS, ids)
    lengths = np.zeros(len(ids) + len(vocabulary.special), dtype="<i4")
    lengths[list(ids.values())] = [len(token) for token in ids]
    np.save(folder / "token_bytes.npy", lengths, allow_pickle=False)


def write_ranks(path: Path, ids: Mapping[bytes, int]) -> None:
    """Write tokens as tiktoken does: base64 and id, a line each."""
    path.write_bytes(ranks_text(ids))


def ranks_text(ids: Mapping[bytes, int]) -> bytes:
    """What `write_ranks` writes."""
    return b"".join(b"%b %d\n" % (base64.b64encode(token), index) for token, index in ids.items())


def read_ranks(text: bytes) -> list[bytes]:
    """The tokens of tiktoken's lines of base64 and rank, in the order of their ranks.

    Raises:
        ValueError: a line is none, or a rank is missing or there twice.
    """
    ranks, lines = {}, text.splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            token, rank = line.split()
            ranks[int(rank)] = base64.b64decode(token, validate=True)
        except ValueError:
            raise ValueError(f"its line {number} is no base64 and a rank") from None
    tokens = [ranks[rank] for rank in sorted(ranks)]
    if sorted(ranks) != list(range(len(lines))) or len(set(tokens)) < len(tokens):
        raise ValueError("its ranks have gaps, or meet twice")
    return tokens


def shown_as(token: bytes) -> str:
    """A token in GPT-2's byte alphabet, one printable character per byte."""
    return "".join(map(BYTE_ALPHABET.__getitem__, token))


def bytes_of(shown: str) -> bytes:
    """The inverse of `shown_as`. Raises KeyError for a character outside the alphabet."""
    return bytes(map(_BYTE_OF.__getitem__, shown))


def _byte_alphabet() -> list[str]:
    """Printable Latin-1 stands for itself; the other bytes take the characters from U+0100 on, in order."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


BYTE_ALPHABET = _byte_alphabet()
_BYTE_OF = {character: byte for byte, character in enumerate(BYTE_ALPHABET)}


def merges_of(tokens: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """The two halves of each token that is no single byte: what BPE by the earlier ranks makes of its bytes.

    Raises:
        ValueError: a token cannot be merged from earlier ones.
    """
    ranks = {token: rank for rank, token in enumerate(tokens)}
    merges = []
    for token in tokens:
        if len(token) > 1:
            pair = halves(token, ranks)
            if pair is None:
                raise ValueError(f"its token {token!r} cannot be merged from earlier ones")
            merges.append(pair)
    return merges


def halves(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes] | None:
    """The last two parts that merging a token's bytes by `ranks` comes to; None if earlier ranks do not get that far."""
    parts = [token[index : index + 1] for index in range(len(token))]
    while len(parts) > 2:
        joined = [ranks.get(left + right, len(ranks)) for left, right in pairwise(parts)]
        at = min(range(len(joined)), key=joined.__getitem__)
        if joined[at] >= ranks[token]:
            return None
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def described_bpe(
    *,
    vocab: Mapping[str, int],
    merges: Sequence[Sequence[str]],
    special: Mapping[str, int],
    pre_tokenizer: Mapping[str, Any],
) -> dict[str, Any]:
    """What tokenizer.json says of a byte-level BPE tokenizer, tokens in GPT-2's byte alphabet."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": index, "content": name, **flags} for name, index in special.items()],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": merges,
        },
    }


def _tokenizer_config(special: Mapping[str, int]) -> dict[str, Any]:
    """What transformers asks of a tokenizer beyond tokenizer.json."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOUNDARY,
        "eos_token": BOUNDARY,
        "pad_token": PAD,
        "extra_special_tokens": [name for name in special if name not in (BOUNDARY, PAD)],
        "clean_up_tokenization_spaces": False,
    }


def write_json(path: Path, value: object) -> None:
    """Write one of the tokenizer's files."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
