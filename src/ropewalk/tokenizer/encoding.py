"""Encode and decode. tiktoken does the merging; we keep special tokens out of its sight and crashes out of its reach."""

from __future__ import annotations

import codecs
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken

from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.files import TOKENIZER_FILES, TOKENIZER_JSON, bytes_of
from ropewalk.tokenizer.pattern import encodable_pieces, well_formed


class Tokenizer:
    """Text to ids and back.

    vocabulary: ids are 0 .. vocabulary - 1.
    special: id of each special token. `encode` never yields one, whatever the text says.
    bytes_per_token: int32 by id, 0 for special tokens.
    """

    def __init__(self, tokens: Sequence[bytes], *, pattern: str, special: Mapping[str, int]) -> None:
        """Take byte and BPE tokens in rank order; the ids of `special` follow them."""
        ranks = {token: rank for rank, token in enumerate(tokens)}
        assert len(ranks) == len(tokens), "two tokens have the same bytes"
        assert sorted(special.values()) == list(range(len(tokens), len(tokens) + len(special))), "special ids do not follow"
        # tiktoken knows the special tokens and is never allowed one. (Told of none, it encodes to numpy 1.6 times slower.)
        self._bpe = tiktoken.Encoding("ropewalk", pat_str=pattern, mergeable_ranks=ranks, special_tokens=dict(special))
        self._tokens = [*tokens, *(name.encode() for name in sorted(special, key=special.__getitem__))]
        self.vocabulary = len(self._tokens)
        self.special = dict(special)
        self.bytes_per_token = np.array([*map(len, tokens), *([0] * len(special))], dtype=np.int32)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read the tokenizer in a folder, a tokenizer artifact or a model that carries the files.

        Raises:
            InputError: there is none, or it is not one of ours: byte-level BPE with one split pattern.
        """
        path = Path(folder) / TOKENIZER_JSON
        try:
            return cls._from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise InputError(f"there is no {TOKENIZER_JSON} in {folder}: give a tokenizer or a model folder") from None
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, AssertionError, RecursionError):
            raise InputError(
                f"{path} is not a byte-level BPE tokenizer as ropewalk writes it: make one with 'ropewalk tokenizer'"
            ) from None

    @classmethod
    def _from_json(cls, described: Mapping[str, Any]) -> Tokenizer:
        split, byte_level = described["pre_tokenizer"]["pretokenizers"]
        model = described["model"]
        whole = described["normalizer"] is None and not model.get("ignore_merges") and split["behavior"] == "Isolated"
        if not whole or byte_level["use_regex"] or byte_level["add_prefix_space"] or model["type"] != "BPE":
            raise ValueError
        ids = model["vocab"]
        if sorted(ids.values()) != list(range(len(ids))):
            raise ValueError
        tokens = [bytes_of(shown) for shown in sorted(ids, key=ids.__getitem__)]
        special = {added["content"]: added["id"] for added in described["added_tokens"]}
        return cls(tokens, pattern=split["pattern"]["Regex"], special=special)

    def encode(self, text: str) -> list[int]:
        """The ids of a text: equal to tiktoken's `encode_ordinary`, without its abort on a million spaces."""
        ids: list[int] = []
        for piece in encodable_pieces(well_formed(text)):
            ids += self._bpe.encode_ordinary(piece)
        return ids

    def encode_array(self, text: str) -> np.ndarray:
        """The ids of a text as uint32. Leaves Python's lock while it works, so threads can share a tokenizer."""
        pieces = [self._bpe.encode_to_numpy(piece, disallowed_special=()) for piece in encodable_pieces(well_formed(text))]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def encode_batch(self, texts: Sequence[str], *, pool: Executor | None = None) -> tuple[np.ndarray, np.ndarray]:
        """All texts' ids in one uint32 array, and int64 offsets: text i is `ids[offsets[i]:offsets[i + 1]]`."""
        encoded = list(map(self.encode_array, texts) if pool is None else pool.map(self.encode_array, texts))
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in encoded], out=offsets[1:])
        return np.concatenate([np.empty(0, np.uint32), *encoded]), offsets

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; bytes that are not UTF-8 become U+FFFD, special tokens show as their names.

        Raises:
            InputError: an id is outside the vocabulary.
        """
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The exact bytes of ids. Raises InputError for an id outside the vocabulary."""
        return b"".join(map(self.token, ids))

    def token(self, token_id: int) -> bytes:
        """The bytes of one token. Raises InputError if the id is outside the vocabulary (a padded logit, say)."""
        if not 0 <= token_id < self.vocabulary:
            raise InputError(
                f"token id {token_id} is outside the vocabulary of {self.vocabulary}: the ids come from another tokenizer"
            )
        return self._tokens[token_id]


class StreamingDecoder:
    """Turn ids into text as they come, holding back half a character until its other half is there."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """The characters that this id completes, often none or several."""
        return self._utf8.decode(self._tokenizer.token(token_id))

    def flush(self) -> str:
        """The end: U+FFFD for a character that never came whole. The decoder is fresh again afterwards."""
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest


def copy_files(tokenizer_folder: Path, model_folder: Path) -> None:
    """Put the tokenizer's files into a model's folder, where `Tokenizer.load` and transformers look for them."""
    for name in TOKENIZER_FILES:
        shutil.copyfile(Path(tokenizer_folder) / name, Path(model_folder) / name)
