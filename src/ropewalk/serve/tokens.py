"""Texts as vocabularies cut them: each token with its id and what it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ropewalk.serve.faults import Refusal
from ropewalk.tokenizer.encoding import StreamingDecoder, Tokenizer
from ropewalk.tokenizer.known import installed

_installed = lru_cache(installed)  # half a second for the first who looks


class Vocabularies:
    """The models' vocabularies by the models' names, and GPT-2's and GPT-4's by their titles, if they are installed."""

    def __init__(self, models: Mapping[str, Tokenizer]) -> None:
        self._models = dict(models)

    def described(self) -> list[dict[str, Any]]:
        """Names and sizes, the models' first."""
        return [
            {"id": name, "tokens": self._named(name).vocabulary} for name in dict.fromkeys((*self._models, *_installed()))
        ]

    def cut(self, name: str, text: str) -> dict[str, Any]:
        """The tokens of a text, each with its id, its bytes in hex, and the characters that it completes, often none.

        So the texts join to the whole (half surrogates become U+FFFD).

        Raises:
            Refusal: there is no such vocabulary.
        """
        tokenizer = self._named(name)
        decoder = StreamingDecoder(tokenizer)
        tokens = [{"id": i, "text": decoder.push(i), "bytes": tokenizer.token(i).hex()} for i in tokenizer.encode(text)]
        return {"vocabulary": name, "characters": len(text), "bytes": len(text.encode("utf-8", "replace")), "tokens": tokens}

    def _named(self, name: str) -> Tokenizer:
        tokenizer = self._models.get(name) or _installed().get(name)
        if tokenizer is None:
            raise Refusal(
                404, f"There is no vocabulary {name!r} here: take one that /v1/vocabularies lists.", param="vocabulary"
            )
        return tokenizer
