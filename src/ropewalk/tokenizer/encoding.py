"""Encode and decode: tiktoken what people say, our own `encoder` corpora, to the same ids.

tiktoken answers at once; ours is several times as fast, but half a second late in each process (and some seconds, once,
where it has not been compiled yet). Special tokens are kept out of tiktoken's sight, and what makes it abort out of
its reach.
"""

from __future__ import annotations

import codecs
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tiktoken

from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.files import (
    OWN_TEMPLATE,
    TOKENIZER_FILES,
    TOKENIZER_JSON,
    ChatTemplate,
    free_ids,
    read_chat_template,
)
from ropewalk.tokenizer.pattern import encodable_pieces, well_formed
from ropewalk.tokenizer.reading import read_vocabulary, split_pattern

if TYPE_CHECKING:
    from ropewalk.tokenizer.encoder import Encoder

TEXTS_AT_ONCE = 64
NEVER_IN_UTF8 = {0xC0, 0xC1, *range(0xF5, 0x100)}


class Tokenizer:
    """Text to ids and back.

    vocabulary: ids are 0 .. vocabulary - 1.
    special: id of each special token. `encode` never yields one, whatever the text says.
    bytes_per_token: int32 by id, 0 for special tokens.
    chat_template: how its model was taught to read a conversation; None for one that was not taught. See `chat`.
    """

    def __init__(
        self,
        tokens: Sequence[bytes],
        *,
        pattern: str,
        special: Mapping[str, int],
        chat_template: ChatTemplate | None = OWN_TEMPLATE,
    ) -> None:
        """Take byte and BPE tokens in rank order; they have the ids that `special` leaves free, in this order."""
        self.vocabulary = len(tokens) + len(special)
        ranks = dict(zip(tokens, free_ids(len(tokens), special), strict=True))
        assert len(ranks) == len(tokens), "two tokens have the same bytes"
        # tiktoken knows the special tokens and is never allowed one. (Told of none, it encodes to numpy 1.6 times slower.)
        self._bpe = tiktoken.Encoding("ropewalk", pat_str=pattern, mergeable_ranks=ranks, special_tokens=dict(special))
        self._lacking = _characters_with(set(range(256)) - {token[0] for token in tokens if len(token) == 1})
        self._ranks, self._pattern = ranks, pattern
        names = {index: name.encode() for name, index in special.items()}
        shown = {**{index: token for token, index in ranks.items()}, **names}
        self._tokens = [shown[index] for index in range(self.vocabulary)]
        self.special = dict(special)
        self.bytes_per_token = np.array([0 if i in names else len(shown[i]) for i in range(self.vocabulary)], dtype=np.int32)
        self.chat_template = chat_template

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read the tokenizer in a folder, a tokenizer artifact or a model that carries the files.

        Raises:
            InputError: there is none, or one that tiktoken's merging would not give the ids of.
        """
        path = Path(folder) / TOKENIZER_JSON
        read = read_vocabulary(path)
        pattern = split_pattern(read.pre_tokenizer)
        assert pattern is not None, "read_vocabulary has checked it"
        template = read_chat_template(Path(folder))
        try:
            return cls(read.tokens, pattern=pattern, special=read.special, chat_template=template)
        except ValueError as error:  # tiktoken's
            raise InputError(
                f"{path} has a split pattern that cannot be used ({error}): make one, or take another model"
            ) from None

    def encode(self, text: str) -> list[int]:
        """The ids of a text: equal to tiktoken's `encode_ordinary`, without its abort on a million spaces."""
        ids: list[int] = []
        for piece in encodable_pieces(self.representable(text)):
            ids += self._bpe.encode_ordinary(piece)
        return ids

    def encode_array(self, text: str) -> np.ndarray:
        """The ids of a text as uint32. Leaves Python's lock while it works, so threads can share a tokenizer."""
        whole = encodable_pieces(self.representable(text))
        pieces = [self._bpe.encode_to_numpy(piece, disallowed_special=()) for piece in whole]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def representable(self, text: str) -> str:
        """The text that the ids of `text` stand for: half surrogates and what the vocabulary lacks become U+FFFD."""
        text = well_formed(text)
        return text if self._lacking is None else self._lacking.sub("\ufffd", text)

    @cached_property
    def encoder(self) -> Encoder | None:
        """What encodes whole corpora; None for a split pattern, or a vocabulary, that it does not know."""
        from ropewalk.tokenizer.encoder import Encoder
        from ropewalk.tokenizer.splitting import RULES

        return Encoder(self._ranks, pattern=self._pattern) if self._pattern in RULES and self._lacking is None else None

    def encode_batch(self, texts: Sequence[str], *, pool: Executor | None = None) -> tuple[np.ndarray, np.ndarray]:
        """All texts' ids in one uint32 array, and int64 offsets: text i is `ids[offsets[i]:offsets[i + 1]]`.

        The threads of `pool`, if one is given, take 64 texts at a time.
        """
        if self.encoder is None:
            encoded = list(map(self.encode_array, texts) if pool is None else pool.map(self.encode_array, texts))
            return _joined(encoded, [np.array([0, len(ids)]) for ids in encoded])
        from ropewalk.tokenizer.counting import join

        parts = [join(map(well_formed, texts[at : at + TEXTS_AT_ONCE])) for at in range(0, len(texts), TEXTS_AT_ONCE)]
        both = list(map(self.encoder.encode, parts) if pool is None else pool.map(self.encoder.encode, parts))
        return _joined([ids for ids, _ in both], [offsets for _, offsets in both])

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


def _joined(ids: list[np.ndarray], offsets: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Several arrays of ids with their offsets as one."""
    starts = np.cumsum([0, *map(len, ids)])[:-1]
    moved = [part[1:] + start for part, start in zip(offsets, starts, strict=True)]
    return np.concatenate([np.empty(0, np.uint32), *ids]), np.concatenate([np.zeros(1, np.int64), *moved])


def copy_files(tokenizer_folder: Path, model_folder: Path) -> None:
    """Put the tokenizer's files into a model's folder, where `Tokenizer.load` and transformers look for them.

    Of a tokenizer made elsewhere, those that it has: `tokenizer.json` alone is always there.
    """
    for name in TOKENIZER_FILES:
        if name == TOKENIZER_JSON or (Path(tokenizer_folder) / name).is_file():
            shutil.copyfile(Path(tokenizer_folder) / name, Path(model_folder) / name)


def _characters_with(missing: set[int]) -> re.Pattern[str] | None:
    """What finds the characters whose UTF-8 begins with a `missing` byte; None if all can be written.

    Vocabularies made elsewhere may lack bytes that their pages never had: SmolLM2's, six control characters and the lead
    bytes of unassigned planes. tiktoken aborts on such a byte.
    """
    ranges = [_led_by(byte) for byte in sorted(missing - NEVER_IN_UTF8)]
    shown = "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in ranges)
    return re.compile(f"[{shown}]") if shown else None


def _led_by(byte: int) -> tuple[int, int]:
    """The first and the last character whose UTF-8 begins with `byte`."""
    if byte < 0x80:
        return byte, byte
    following = 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
    first = (byte & (0x3F >> following)) << (6 * following)
    return max(first, (0x80, 0x800, 0x10000)[following - 1]), min(first + (1 << (6 * following)) - 1, 0x10FFFF)
