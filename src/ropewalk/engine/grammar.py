"""Texts that match a JSON schema, a regular expression or one of some choices, whatever the model would rather say.

llguidance says which tokens may come next. It is imported here alone, and comes with the extra ropewalk[grammar].

Shapes: B sequences, V vocabulary, P those of B that follow a grammar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from ropewalk.runtime.errors import InputError, MachineError
from ropewalk.tokenizer.encoding import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

# Between the marks of JSON; without an end to it, a model that knows no JSON says nothing but line breaks.
SPACE = r"[ \t\n\r]{0,24}"
MOST_KEPT = 64  # compiled grammars: a program asks with the same schema again and again
BITS = 32  # of a mask's words


@dataclass(frozen=True)
class Grammar:
    """What a text must match.

    kind: "json" for a JSON schema, "regex" for a regular expression of the whole text, "lark" for llguidance's Lark.
    """

    kind: Literal["json", "regex", "lark"]
    text: str


def one_of(choices: list[str]) -> Grammar:
    """The grammar of some texts, one of which is taken."""
    return Grammar("regex", "|".join(f"({re.escape(choice)})" for choice in choices))


class Matcher:
    """Where one text stands in its grammar."""

    def __init__(self, matcher: LLMatcher, vocabulary: int) -> None:
        self._matcher, self._vocabulary = matcher, vocabulary
        self.stuck = False

    def allowed_V(self) -> np.ndarray:  # noqa: N802 (a shape)
        """Which tokens may come next, bool (V,)."""
        words = np.zeros((self._vocabulary + BITS - 1) // BITS, dtype=np.int32)
        self._matcher.unsafe_compute_mask_ptr(words.ctypes.data, words.nbytes)
        return np.unpackbits(words.view(np.uint8), bitorder="little")[: self._vocabulary].astype(bool)

    def take(self, token_id: int) -> bool:
        """Go on by a token. False if nothing could follow: too complex, or in want of bytes that no token has."""
        return not self.stuck and self._matcher.consume_token(token_id)

    @property
    def complete(self) -> bool:
        """Whether the text matches and nothing can be added to it."""
        return self._matcher.is_stopped()


class Grammars:
    """The grammars over one vocabulary, compiled when they are first asked for."""

    def __init__(self, tokenizer: Tokenizer, stop_ids: frozenset[int]) -> None:
        self._tokenizer, self._stop_ids = tokenizer, stop_ids
        self._compiled = lru_cache(MOST_KEPT)(self._compile)
        self._vocabulary: LLTokenizer | None = None

    def matcher(self, grammar: Grammar) -> Matcher:
        """A matcher at the beginning of a text. May be called from any thread.

        Raises:
            InputError: the grammar is wrong, or uses what llguidance does not have.
            MachineError: llguidance is not installed.
        """
        return Matcher(self._compiled(grammar).deep_copy(), self._tokenizer.vocabulary)

    def _compile(self, grammar: Grammar) -> LLMatcher:
        try:
            from llguidance import LLMatcher
        except ImportError as error:
            raise MachineError(f"grammars need llguidance ({error}): pip install 'ropewalk[grammar]'") from None
        kind = {"json": "JSON schema", "regex": "regular expression", "lark": "grammar"}[grammar.kind]
        try:
            if grammar.kind == "json":
                made = LLMatcher.grammar_from_json_schema(grammar.text, {"whitespace_pattern": SPACE})
            elif grammar.kind == "regex":
                made = LLMatcher.grammar_from_regex(grammar.text)
            else:
                made = LLMatcher.grammar_from_lark(grammar.text)
            matcher = LLMatcher(self._described(), made, log_level=0)
        except ValueError as error:
            raise InputError(f"the {kind} cannot be read ({_short(error)}): correct it") from None
        if matcher.is_error():
            raise InputError(f"the {kind} cannot be followed ({_short(matcher.get_error())}): write it otherwise")
        return matcher

    def _described(self) -> LLTokenizer:
        """The vocabulary as llguidance wants it: a second's work, once."""
        if self._vocabulary is None:
            from llguidance import LLTokenizer, TokenizerWrapper

            self._vocabulary = LLTokenizer(TokenizerWrapper(_Vocabulary(self._tokenizer)), eos_token=sorted(self._stop_ids))
        return self._vocabulary


class _Vocabulary:
    """What llguidance's wrapper asks a tokenizer for."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = 0  # overridden by the stop ids
        self.bos_token_id = None
        self.tokens = [tokenizer.token(token_id) for token_id in range(tokenizer.vocabulary)]
        self.special_token_ids = sorted(tokenizer.special.values())

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)


def matching(logits_BV: Tensor, matchers: Mapping[int, Matcher]) -> Tensor:
    """The scores with -inf where a row's grammar forbids the token; without grammars, the very same tensor.

    A row where nothing is left stays as it is, and its matcher is stuck.
    """
    if not matchers:
        return logits_BV
    allowed_PV = torch.from_numpy(np.stack([matcher.allowed_V() for matcher in matchers.values()])).to(logits_BV.device)
    rows_P = torch.tensor(list(matchers), device=logits_BV.device)
    kept_PV = logits_BV[rows_P]
    kept_PV[:, allowed_PV.shape[1] :] = -torch.inf
    kept_PV[:, : allowed_PV.shape[1]].masked_fill_(~allowed_PV, -torch.inf)
    for place, (row, matcher) in enumerate(matchers.items()):
        matcher.stuck = not kept_PV[place].isfinite().any()
        if matcher.stuck:
            kept_PV[place] = logits_BV[row]
    return logits_BV.index_copy(0, rows_P, kept_PV)


def _short(message: object) -> str:
    """The line that says what is wrong: marked as an error where others draw the place, else the first."""
    lines = str(message).strip().splitlines() or [""]
    line = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])
    return line if len(line) <= 200 else line[:197] + "..."
