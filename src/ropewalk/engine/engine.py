"""Requests in slots: each is prefilled once, then all decode together, and freed slots take the next requests.

Shapes: B sequences, T time, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ropewalk.engine.sampling import Sampling, choose
from ropewalk.engine.stopping import StopStrings
from ropewalk.model.cache import KeyValueCache
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.seeds import generator
from ropewalk.tokenizer.encoding import StreamingDecoder, Tokenizer

Finish = Literal["stop", "length"]
PREFILL_CHUNK_TOKENS = 512
PREFILL_TOGETHER_TOKENS = 32  # prompts whose lengths differ by less than that are read in one batch


@dataclass(frozen=True)
class Token:
    """One generated token.

    text: what it adds to the text: empty while a character is still incomplete, while a stop string may be coming, and for
        a stop token.
    logprob: its log-probability in nats under the model's own distribution over the tokens that may be drawn, which is all
        but `Engine.banned`, before temperature and cuts.
    finish: why the request ended with this token, or None.
    alternatives: the most probable tokens in its place, best first, each with its log-probability in the same sense; as
        many as the sampling's `top_logprobs`.
    """

    request: int
    id: int
    text: str
    logprob: float
    finish: Finish | None
    alternatives: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Generation:
    """All that one request gave; ids include the stop token."""

    ids: list[int]
    text: str
    logprobs: list[float]
    finish: Finish


class _Request:
    """A request on its way: `length` tokens of it are in the cache, `made` were generated, the last of them `newest`."""

    def __init__(self, number: int, prompt: Sequence[int], sampling: Sampling, tokenizer: Tokenizer) -> None:
        self.number, self.prompt, self.sampling = number, prompt, sampling
        self.decoder = StreamingDecoder(tokenizer)
        self.stops = StopStrings(sampling.stop)
        self.draws = generator("sampling", sampling.seed)
        self.length = len(prompt)
        self.made = 0
        self.newest = -1


@dataclass
class Engine:
    """A model, its tokenizer, and a cache of `slots` sequences. One thread at a time may use it.

    The model computes where its weights lie; tokens are chosen on the CPU, by the same draws everywhere.
    """

    model: Transformer
    tokenizer: Tokenizer
    stop_ids: frozenset[int]
    slots: int = 8
    cache: KeyValueCache = field(init=False)
    banned: Tensor = field(init=False)
    device: torch.device = field(init=False)
    _waiting: dict[int, _Request] = field(init=False, default_factory=dict)  # by number, first come first
    _active: dict[int, _Request] = field(init=False, default_factory=dict)  # by slot

    def __post_init__(self) -> None:
        self.device = self.model.lm_head.weight.device
        self.cache = KeyValueCache(
            self.model.config,
            slots=self.slots,
            capacity_tokens=self.model.config.context_tokens,
            dtype=self.model.precision,
            device=self.device,
        )
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

    def stream(self, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling]) -> Iterator[Token]:
        """Yield tokens as they are made, interleaved over requests; stop iterating to cancel.

        The engine must be idle: its steps would take other requests' tokens along.

        Raises:
            InputError: an empty prompt, or one that leaves no room in the model's context.
        """
        assert self.idle, "another stream of this engine has not ended"
        for prompt in prompts:
            self.check(prompt)
        for number, (prompt, sampling) in enumerate(zip(prompts, samplings, strict=True)):
            self.submit(number, prompt, sampling)
        try:
            while not self.idle:
                yield from self.step()
        finally:
            for number in range(len(prompts)):
                self.cancel(number)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._waiting or self._active)

    def check(self, prompt: Sequence[int]) -> None:
        """Raise InputError for an empty prompt, or one that leaves no room in the model's context."""
        room = self.model.config.context_tokens
        if not 0 < len(prompt) < room:
            raise InputError(f"the prompt has {len(prompt)} tokens, this model reads 1 to {room - 1}: shorten it")

    def submit(self, number: int, prompt: Sequence[int], sampling: Sampling) -> None:
        """Let a request wait for a slot. Its tokens will bear `number`, which no other request here may have.

        Raises:
            InputError: as `check`.
        """
        self.check(prompt)
        assert number not in self._waiting and all(one.number != number for one in self._active.values())
        self._waiting[number] = _Request(number, prompt, sampling, self.tokenizer)

    def cancel(self, number: int) -> None:
        """Forget a request; its slot is free for the next step. One that has ended already is no mistake."""
        self._waiting.pop(number, None)
        self._active = {slot: one for slot, one in self._active.items() if one.number != number}

    @torch.inference_mode()
    def step(self) -> list[Token]:
        """Prefill what waits into the free slots, then decode one token of every active request."""
        tokens = []
        for together in self._admit():
            tokens += self._next(together, self._prefill({slot: one.prompt for slot, one in together.items()}))
        if self._active:
            tokens += self._next(self._active, self._decode(self._active))
        return tokens

    def _admit(self) -> list[dict[int, _Request]]:
        """Give the free slots to those who wait longest. Returns them by slot, in batches of prompts of similar lengths."""
        free = [slot for slot in range(self.slots) if slot not in self._active]
        admitted = {slot: self._waiting.pop(next(iter(self._waiting))) for slot in free[: len(self._waiting)]}
        self._active |= admitted
        batches: list[dict[int, _Request]] = []
        shortest = -PREFILL_TOGETHER_TOKENS
        for slot, one in sorted(admitted.items(), key=lambda entry: entry[1].length):
            if one.length >= shortest + PREFILL_TOGETHER_TOKENS:
                batches.append({})
                shortest = one.length
            batches[-1][slot] = one
        return batches

    def _prefill(self, prompts: Mapping[int, Sequence[int]]) -> Tensor:
        """Read prompts into their slots, in pieces. Returns the logits after each of them, (B, V), on the CPU.

        Shorter prompts are padded behind: what that leaves in a slot is hidden by the mask until it is written over.
        """
        slots_B = torch.tensor(list(prompts), device=self.device)
        last_B = torch.tensor([len(prompt) - 1 for prompt in prompts.values()])
        ids_BT = torch.zeros(len(prompts), int(last_B.max()) + 1, dtype=torch.long)
        for row, prompt in enumerate(prompts.values()):
            ids_BT[row, : len(prompt)] = torch.tensor(prompt)
        ids_BT, last_B = ids_BT.to(self.device), last_B.to(self.device)
        last_BD = torch.empty(len(prompts), self.model.config.width, dtype=self.model.precision, device=self.device)
        for start in range(0, ids_BT.shape[1], PREFILL_CHUNK_TOKENS):
            piece_BT = ids_BT[:, start : start + PREFILL_CHUNK_TOKENS]
            positions_BT = torch.arange(start, start + piece_BT.shape[1], device=self.device).expand_as(piece_BT)
            hidden_BTD = self.model(piece_BT, cache=self.cache, slots_B=slots_B, positions_BT=positions_BT)
            ends_B = ((last_B >= start) & (last_B < start + piece_BT.shape[1])).nonzero()[:, 0]
            last_BD[ends_B] = hidden_BTD[ends_B, last_B[ends_B] - start]
        return self.model.logits(last_BD).cpu()

    def _decode(self, active: Mapping[int, _Request]) -> Tensor:
        """Read each sequence's newest token. Returns the logits after them, (B, V), on the CPU."""
        ids_BT = torch.tensor([[one.newest] for one in active.values()], device=self.device)
        positions_BT = torch.tensor([[one.length] for one in active.values()], device=self.device)
        slots_B = torch.tensor(list(active), device=self.device)
        hidden_BTD = self.model(ids_BT, cache=self.cache, slots_B=slots_B, positions_BT=positions_BT)
        for one in active.values():
            one.length += 1
        return self.model.logits(hidden_BTD[:, -1]).cpu()

    def _next(self, active: Mapping[int, _Request], logits_BV: Tensor) -> list[Token]:
        """Choose the next token of each sequence; those that end with it leave their slots."""
        allowed_BV = logits_BV.index_fill(1, self.banned, -torch.inf)
        logprobs_BV = allowed_BV.log_softmax(dim=1)
        draws_B = torch.tensor([one.draws.random(dtype=np.float32) for one in active.values()])
        ids_B = choose(allowed_BV, [one.sampling for one in active.values()], draws_B)
        chosen_B = logprobs_BV.gather(1, ids_B[:, None])[:, 0]
        tokens = []
        for row, (slot, token_id, logprob) in enumerate(zip(list(active), ids_B.tolist(), chosen_B.tolist(), strict=True)):
            one = active[slot]
            text, finish = self._take(one, token_id)
            alternatives = _most_probable(logprobs_BV[row], one.sampling.top_logprobs)
            tokens.append(Token(one.number, token_id, text, logprob, finish, alternatives))
            if finish is not None:
                del self._active[slot]
        return tokens

    def _take(self, one: _Request, token_id: int) -> tuple[str, Finish | None]:
        """Note a sequence's next token. Returns the text that it adds, and whether and why the text ends there."""
        one.newest = token_id
        one.made += 1
        finish: Finish | None = None
        piece = ""
        if token_id in self.stop_ids:
            finish = "stop"
        else:
            piece = one.decoder.push(token_id)
            if one.made == one.sampling.max_tokens or one.length + 1 >= self.cache.capacity_tokens:
                finish = "length"
        if finish is not None:
            piece += one.decoder.flush()
        text, met = one.stops.push(piece)
        if met:
            return text, "stop"
        return (text if finish is None else text + one.stops.flush()), finish


def _most_probable(logprobs_V: Tensor, count: int) -> tuple[tuple[int, float], ...]:
    if count == 0:
        return ()
    best = logprobs_V.topk(min(count, len(logprobs_V)))
    return tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
