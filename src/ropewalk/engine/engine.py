"""Requests in slots: each is prefilled once, then all decode together, and a freed slot takes the next request.

Shapes: B sequences, T time, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ropewalk.engine.sampling import Sampling, choose
from ropewalk.model.cache import KeyValueCache
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.seeds import generator
from ropewalk.tokenizer.encoding import StreamingDecoder, Tokenizer

Finish = Literal["stop", "length"]
PREFILL_CHUNK_TOKENS = 512


@dataclass(frozen=True)
class Token:
    """One generated token. `text` is what it adds: empty while a character is still incomplete, and for the stop token.

    logprob: its log-probability in nats under the model's own distribution, before temperature and cuts.
    finish: why the request ended with this token, or None.
    """

    request: int
    id: int
    text: str
    logprob: float
    finish: Finish | None


@dataclass(frozen=True)
class Generation:
    """All that one request gave; ids include the stop token."""

    ids: list[int]
    text: str
    logprobs: list[float]
    finish: Finish


@dataclass
class _Active:
    request: int
    sampling: Sampling
    decoder: StreamingDecoder
    draws: np.random.Generator
    length: int  # tokens in the cache
    next_id: int = -1
    made: int = 0


@dataclass
class Engine:
    """A model, its tokenizer, and a cache of `slots` sequences."""

    model: Transformer
    tokenizer: Tokenizer
    stop_ids: frozenset[int]
    slots: int = 8
    cache: KeyValueCache = field(init=False)
    banned: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.cache = KeyValueCache(self.model.config, slots=self.slots, capacity_tokens=self.model.config.context_tokens)
        # Padding and turn openers are never an answer; a model that was not taught about them might still draw one.
        self.banned = torch.tensor(sorted(set(self.tokenizer.special.values()) - self.stop_ids), dtype=torch.long)

    def generate(self, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling]) -> list[Generation]:
        """Run all requests to their ends, as many at once as there are slots."""
        tokens: list[list[Token]] = [[] for _ in prompts]
        for token in self.stream(prompts, samplings):
            tokens[token.request].append(token)
        return [
            Generation(
                [t.id for t in made], "".join(t.text for t in made), [t.logprob for t in made], made[-1].finish or "length"
            )
            for made in tokens
        ]

    @torch.inference_mode()
    def stream(self, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling]) -> Iterator[Token]:
        """Yield tokens as they are made, interleaved over requests; stop iterating to cancel.

        Raises:
            InputError: an empty prompt, or one that leaves no room in the model's context.
        """
        for prompt in prompts:
            self._check(prompt)
        waiting = deque(enumerate(zip(prompts, samplings, strict=True)))
        active: dict[int, _Active] = {}
        while waiting or active:
            for slot in range(self.slots):
                if slot not in active and waiting:
                    request, (prompt, sampling) = waiting.popleft()
                    draws = generator("sampling", sampling.seed)
                    one = _Active(request, sampling, StreamingDecoder(self.tokenizer), draws, len(prompt))
                    token = self._next({slot: one}, self._prefill(slot, prompt))[0]
                    yield token
                    if token.finish is None:
                        active[slot] = one
            if active:
                for slot, token in zip(list(active), self._next(active, self._decode(active)), strict=True):
                    yield token
                    if token.finish is not None:
                        del active[slot]

    def _check(self, prompt: Sequence[int]) -> None:
        room = self.model.config.context_tokens
        if not 0 < len(prompt) < room:
            raise InputError(f"the prompt has {len(prompt)} tokens, this model reads 1 to {room - 1}: shorten it")

    def _prefill(self, slot: int, prompt: Sequence[int]) -> Tensor:
        """Read a prompt into its slot, in pieces. Returns the logits after it, (1, V)."""
        slots_B = torch.tensor([slot])
        hidden_BTD = torch.empty(0)
        for start in range(0, len(prompt), PREFILL_CHUNK_TOKENS):
            ids_BT = torch.tensor([prompt[start : start + PREFILL_CHUNK_TOKENS]])
            positions_BT = torch.arange(start, start + ids_BT.shape[1])[None]
            hidden_BTD = self.model(ids_BT, cache=self.cache, slots_B=slots_B, positions_BT=positions_BT)
        return self.model.logits(hidden_BTD[:, -1])

    def _decode(self, active: dict[int, _Active]) -> Tensor:
        """Read each sequence's newest token. Returns the logits after them, (B, V)."""
        ids_BT = torch.tensor([[one.next_id] for one in active.values()])
        positions_BT = torch.tensor([[one.length] for one in active.values()])
        hidden_BTD = self.model(ids_BT, cache=self.cache, slots_B=torch.tensor(list(active)), positions_BT=positions_BT)
        for one in active.values():
            one.length += 1
        return self.model.logits(hidden_BTD[:, -1])

    def _next(self, active: dict[int, _Active], logits_BV: Tensor) -> list[Token]:
        """Choose the next token of each sequence and note it."""
        logprobs_BV = logits_BV.log_softmax(dim=1)
        allowed_BV = logits_BV.index_fill(1, self.banned, -torch.inf)
        draws_B = torch.tensor([one.draws.random(dtype=np.float32) for one in active.values()])
        ids_B = choose(allowed_BV, [one.sampling for one in active.values()], draws_B)
        chosen_B = logprobs_BV.gather(1, ids_B[:, None])[:, 0]
        tokens = []
        for one, token_id, logprob in zip(active.values(), ids_B.tolist(), chosen_B.tolist(), strict=True):
            one.next_id = token_id
            one.made += 1
            finish: Finish | None = None
            if token_id in self.stop_ids:
                finish = "stop"
            elif one.made == one.sampling.max_tokens or one.length + 1 >= self.cache.capacity_tokens:
                finish = "length"
            text = "" if finish == "stop" else one.decoder.push(token_id)
            if finish is not None:
                text += one.decoder.flush()
            tokens.append(Token(one.request, token_id, text, logprob, finish))
        return tokens
