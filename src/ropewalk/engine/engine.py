"""Requests in a batch that others join and leave: prompts are read in pieces, then all decode together, a token a step.

Shapes: B sequences, T time, P pages of cache, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ropewalk.engine.grammar import Grammars, matching
from ropewalk.engine.graphs import Graphs
from ropewalk.engine.guessing import guess
from ropewalk.engine.pages import Pages, alike
from ropewalk.engine.sampling import Sampling, choose, draw_plainly
from ropewalk.engine.stopping import StopStrings
from ropewalk.engine.weighing import Weighing, weighed
from ropewalk.model.cache import PAGE_TOKENS, KeyValueCache, pages_for
from ropewalk.model.decoding import decode_in_loops
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.seeds import generator
from ropewalk.tokenizer.encoding import StreamingDecoder, Tokenizer

Finish = Literal["stop", "length", "error"]
Told = tuple[int, float, tuple[tuple[int, float], ...]]  # an id, its log-probability, and its alternatives with theirs
PREFILL_TOKENS = 512  # read of prompts in a step, more or less, so that those who decode wait for no longer
GPU_PREFILL_TOKENS = 8192  # takes a GPU as little time
PREFILL_TOGETHER_TOKENS = 32  # prompts of which as much is left, within that, are read in one batch
GUESS_MOST_REQUESTS = 4  # beside more, a pass is bound by its products, and wrong guesses cost what they are
MOST_CACHE_BYTES = 1 << 30
GPU_CACHE_FRACTION = 0.5  # of the memory that is free


@dataclass(frozen=True)
class ReadToken:
    """One token of a prompt: its log-probability and alternatives as a `Token`'s; None and none for the first."""

    id: int
    logprob: float | None
    alternatives: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Token:
    """One generated token.

    text: what it adds to the text: empty while a character is still incomplete, while a stop string may be coming, and for
        a stop token.
    logprob: its log-probability in nats under the model's own distribution over the tokens that may be drawn, which is all
        but `Engine.banned`, before penalties, biases, grammar, temperature and cuts.
    finish: why the request ended with this token, or None; "error" if its grammar led to where nothing can follow.
    alternatives: the most probable tokens in its place, best first, each with its log-probability in the same sense; as
        many as the sampling's `top_logprobs`.
    read: with a request's first token, the prompt's, if the sampling asked for `prompt_logprobs`.
    """

    request: int
    id: int
    text: str
    logprob: float
    finish: Finish | None
    alternatives: tuple[tuple[int, float], ...] = ()
    read: tuple[ReadToken, ...] = ()


@dataclass(frozen=True)
class Generation:
    """All that one request gave; ids include the stop token."""

    ids: list[int]
    text: str
    logprobs: list[float]
    finish: Finish


class _Request:
    """A request on its way: of its `ids`, prompt and answer, the first `length` are in the cache, in `pages`.

    twin_of: an active request with the very same ids, which are being read; this one has no pages until they are.
    """

    def __init__(self, number: int, prompt: Sequence[int], sampling: Sampling, engine: Engine) -> None:
        self.number, self.prompt, self.sampling = number, tuple(prompt), sampling  # the caller may go on with its list
        self.ids = list(prompt)
        self.length = 0
        self.pages: list[int] = []
        self._row_P = np.zeros(pages_for(engine.model.config.context_tokens), np.int64)
        self._row_of, self._in_row = self.pages, 0
        self.twin_of: _Request | None = None
        self.decoder = StreamingDecoder(engine.tokenizer)
        self.stops = StopStrings(sampling.stop)
        self.draws = generator("sampling", sampling.seed)
        most_tokens = min(sampling.max_tokens, engine.model.config.context_tokens)
        self.weighing = Weighing(self.prompt, sampling, most_tokens=most_tokens) if sampling.weighs else None
        self.matcher = engine.grammars.matcher(sampling.grammar) if sampling.grammar else None
        self.read: list[ReadToken] = []

    @property
    def made(self) -> int:
        """How many tokens of its answer there are."""
        return len(self.ids) - len(self.prompt)

    @property
    def left(self) -> int:
        """How many ids are not in the cache."""
        return len(self.ids) - self.length

    @property
    def row_P(self) -> np.ndarray:  # noqa: N802 (a shape)
        """Its pages as a row of a table for a whole context; only those that came behind are written."""
        if self._row_of is not self.pages:
            self._row_of, self._in_row = self.pages, 0
        if self._in_row < len(self.pages):
            self._row_P[self._in_row : len(self.pages)] = self.pages[self._in_row :]
            self._in_row = len(self.pages)
        return self._row_P

    @property
    def reads(self) -> bool:
        """Whether it is active and more is to be read than the token that was drawn last."""
        return bool(self.pages) and (self.left > 1 or not self.made)

    @property
    def decodes(self) -> bool:
        """Whether it is active and what was drawn last is all that is to be read."""
        return bool(self.pages) and not self.reads

    @property
    def tells_prompt(self) -> bool:
        """Whether it still has to say how probable its prompt is: it must read all of that itself."""
        return self.sampling.prompt_logprobs and not self.made


@dataclass
class Counts:
    """What the engine did so far: ids that it found in the cache instead of reading them, ids read of prompts, and requests
    that gave up their pages to older ones, to be read again."""

    found_tokens: int = 0
    read_tokens: int = 0
    preemptions: int = 0


@dataclass
class Engine:
    """A model, its tokenizer, and a cache of keys and values. One thread at a time may use it.

    slots: most requests that run at once. cache_tokens: how many positions the cache holds; None for `slots` whole contexts,
    or as many as a gigabyte does. A whole context has always room. guess_tokens: how many to guess from what a text
    repeats.

    compiled: decode in loops of our own on a CPU, by replayed CUDA graphs on a GPU; else operation by operation.
    graphs: True takes the graphs' steps on a CPU too, one by one.

    The model computes and tokens are chosen where its weights lie, by the same draws everywhere.
    """

    model: Transformer
    tokenizer: Tokenizer
    stop_ids: frozenset[int]
    slots: int = 8
    cache_tokens: int | None = None
    guess_tokens: int = 0
    compiled: bool = True
    graphs: bool | None = None
    cache: KeyValueCache = field(init=False)
    pages: Pages = field(init=False)
    counts: Counts = field(init=False, default_factory=Counts)
    banned: Tensor = field(init=False)
    device: torch.device = field(init=False)
    prefill_tokens: int = field(init=False)
    grammars: Grammars = field(init=False)
    _waiting: dict[int, _Request] = field(init=False, default_factory=dict)  # by number, first come first
    _active: dict[int, _Request] = field(init=False, default_factory=dict)  # by number, those longest active first
    _weights_seen: int = field(init=False, default=0)
    _graphs: Graphs | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.device = self.model.model.embed_tokens.weight.device
        config, dtype = self.model.config, self.model.precision
        if self.cache_tokens is None:
            token_bytes = 2 * config.layers * config.key_value_heads * config.head_width * dtype.itemsize
            most_bytes = _room_bytes(self.device)
            self.cache_tokens = min(self.slots * config.context_tokens, most_bytes // token_bytes)
        pages = pages_for(max(self.cache_tokens, config.context_tokens))
        self.cache, self.pages = KeyValueCache(config, pages=pages, dtype=dtype, device=self.device), Pages(pages)
        on_gpu = self.device.type == "cuda"
        if self.compiled:
            decode_in_loops(self.model)
        if self.graphs or (self.graphs is None and self.compiled and on_gpu):
            self._graphs = Graphs(self.model, self.cache, slots=self.slots)
        self.prefill_tokens = GPU_PREFILL_TOKENS if on_gpu else PREFILL_TOKENS
        # Padding and turn openers are never an answer; a model that was not taught about them might still draw one. Nor are
        # the ids by which a model made elsewhere is larger than its vocabulary.
        beyond = range(self.tokenizer.vocabulary, config.vocabulary)
        banned = sorted({*self.tokenizer.special.values(), *beyond} - self.stop_ids)
        self.banned = torch.tensor(banned, dtype=torch.long, device=self.device)
        self.grammars = Grammars(self.tokenizer, self.stop_ids)

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
            InputError: as `check`.
        """
        assert self.idle, "another stream of this engine has not ended"
        for prompt, sampling in zip(prompts, samplings, strict=True):
            self.check(prompt, sampling)
        for number, (prompt, sampling) in enumerate(zip(prompts, samplings, strict=True)):
            self.submit(number, prompt, sampling)
        try:
            while not self.idle:
                yield from self.step()
        finally:
            for number in range(len(prompts)):
                self.cancel(number)

    @property
    def running(self) -> int:
        """Requests that are read or written."""
        return len(self._active)

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._waiting or self._active)

    def check(self, prompt: Sequence[int], sampling: Sampling) -> None:
        """Refuse what cannot be run.

        Raises:
            InputError: an empty prompt, one that leaves no room in the model's context, an id that is none of the
                vocabulary's, or a grammar that cannot be followed.
            MachineError: a grammar, and the library for it is not installed.
        """
        room = self.model.config.context_tokens
        if not 0 < len(prompt) < room:
            raise InputError(f"the prompt has {len(prompt)} tokens, this model reads 1 to {room - 1}: shorten it")
        ids = (min(prompt), max(prompt), *(token_id for token_id, _ in sampling.logit_bias))
        if not 0 <= min(ids) <= max(ids) < self.tokenizer.vocabulary:
            raise InputError(f"token ids must be 0 to {self.tokenizer.vocabulary - 1} for this model: give others")
        if sampling.grammar is not None:
            self.grammars.matcher(sampling.grammar)

    def submit(self, number: int, prompt: Sequence[int], sampling: Sampling) -> None:
        """Let a request wait for a slot. Its tokens will bear `number`, which no other request here may have.

        Raises:
            InputError: as `check`.
        """
        self.check(prompt, sampling)
        assert number not in self._waiting and number not in self._active
        self._waiting[number] = _Request(number, prompt, sampling, self)

    def forget(self) -> None:
        """Know nothing of what was read before. What is read anew may differ in its last bits from what is found."""
        self.pages.forget()

    def cancel(self, number: int) -> None:
        """Forget a request; its slot and pages are free for the next step. One that has ended already is no mistake."""
        self._waiting.pop(number, None)
        if number in self._active:
            self._leave(self._active[number])

    @torch.inference_mode()
    def step(self) -> list[Token]:
        """Read on in prompts, some hundred tokens, then decode one token of every request whose prompt is read."""
        self._admit()
        tokens = self._read_prompts()
        self._make_room()
        if decoding := [one for one in self._active.values() if one.decodes]:
            tokens += self._decode(decoding)
        return tokens

    def _admit(self) -> None:
        """Let those who wait longest in, while there are slots and pages.

        Whose prompt begins as one that is being read waits until that is done, if the cache knows less of it; who has the
        very same one is its twin.
        """
        if self._waiting and self._weights_seen != (seen := _version(self.model)):
            self.pages.forget()
            self._weights_seen = seen
        for one in list(self._waiting.values()):
            if len(self._active) >= self.slots:
                return
            reading = [other for other in self._active.values() if other.reads]
            if not one.tells_prompt:
                one.twin_of = next((other for other in reading if other.ids == one.ids), None)
            if one.twin_of is None:
                found = [] if one.tells_prompt else self.pages.find(one.ids)
                if not one.tells_prompt and any(alike(one.ids[:-1], other.ids) > len(found) for other in reading):
                    continue
                if not self._open(one, found):
                    return
            self._active[one.number] = self._waiting.pop(one.number)

    def _open(self, one: _Request, found: Sequence[int]) -> bool:
        """Give a request pages for its ids, those found among them. False if there are not as many."""
        self.pages.hold(found)
        taken = self.pages.take(pages_for(len(one.ids)) - len(found))
        if taken is None:
            self.pages.drop(found)
            return False
        one.pages, one.length = [*found, *taken], len(found) * PAGE_TOKENS
        one.read = [ReadToken(one.prompt[0], None)] if one.tells_prompt else []
        self.counts.found_tokens += one.length
        return True

    def _leave(self, one: _Request) -> None:
        """Take a request's slot and pages away, which stay known by what they hold. Its twins wait again."""
        for twin in reversed(self._twins(one)):
            self._wait_again(twin)
        del self._active[one.number]
        self.pages.learn(one.ids[: one.length], one.pages)
        self.pages.drop(one.pages)
        one.pages, one.length, one.twin_of = [], 0, None

    def _wait_again(self, one: _Request) -> None:
        """Let an active request be the first of those that wait."""
        self._leave(one)
        self._waiting = {one.number: one, **self._waiting}

    def _twins(self, one: _Request) -> list[_Request]:
        return [twin for twin in self._active.values() if twin.twin_of is one]

    def _make_room(self) -> None:
        """Give each a page for its next token. Where none is left, the newest request gives its own up, to be read again."""
        for one in list(self._active.values()):
            while one.decodes and one.length == len(one.pages) * PAGE_TOKENS:
                if taken := self.pages.take(1):
                    one.pages += taken
                else:
                    self._wait_again(next(reversed(self._active.values())))
                    self.counts.preemptions += 1

    def _read_prompts(self) -> list[Token]:
        """Read on in prompts, those first that have been active for longest. Returns the first tokens behind whole ones."""
        tokens: list[Token] = []
        room_tokens = self.prefill_tokens
        while room_tokens > 0 and (together := self._to_read(room_tokens)):
            left_tokens = sum(one.left for one in together)
            logits_BV = self._read(together)
            read_tokens = left_tokens - sum(one.left for one in together)
            self.counts.read_tokens += read_tokens
            room_tokens -= read_tokens
            whole = [(row, one) for row, one in enumerate(together) if one.left == 0]
            chosen = [(row, each) for row, one in whole for each in (one, *self._joined(one))]
            if chosen:
                tokens += self._next([one for _, one in chosen], logits_BV[[row for row, _ in chosen]])
        return tokens

    def _to_read(self, room_tokens: int) -> list[_Request]:
        """Who reads on next: the one that has been active for longest, and those who have about as much to read."""
        reading = [one for one in self._active.values() if one.reads]
        if not reading:
            return []
        most, longest = self.prefill_tokens, min(reading[0].left, self.prefill_tokens)
        alike_long = [one for one in reading if abs(min(one.left, most) - longest) < PREFILL_TOGETHER_TOKENS]
        return alike_long[: max(1, room_tokens // longest)]

    def _read(self, requests: Sequence[_Request]) -> Tensor:
        """Read the next ids of each request. Returns the logits after the last that was read of each, (B, V)."""
        longest = min(max(one.left for one in requests), self.prefill_tokens)
        pieces = [one.ids[one.length : one.length + longest] for one in requests]
        hidden_BTD = self._states(requests, pieces)
        for row, (one, piece) in enumerate(zip(requests, pieces, strict=True)):
            if one.tells_prompt:
                self._tell_prompt(one, hidden_BTD[row])
            one.length += len(piece)
        ends_B = torch.tensor([len(piece) - 1 for piece in pieces], device=self.device)
        return self.model.logits(hidden_BTD[torch.arange(len(requests), device=self.device), ends_B])

    def _decode(self, requests: Sequence[_Request]) -> list[Token]:
        """Read what was drawn last, and what is guessed to follow. Returns the next tokens, one more than guessed rightly.

        Each token is chosen by its own draw, as if nothing had been guessed, and where it is not the guessed one the rest of
        the guess is dropped: guesses change no text (unlike in Leviathan et al. 2023, whose draws are others).
        """
        few = len(requests) <= GUESS_MOST_REQUESTS
        guesses = [self._guess(one) if few else [] for one in requests]
        logits_BTV = self._logits(requests, guesses)
        tokens: list[Token] = []
        right = list(enumerate(requests))  # those who were guessed rightly so far
        for place in range(logits_BTV.shape[1]):
            for _, one in right:
                one.length += 1
            tokens += self._next([one for _, one in right], logits_BTV[[row for row, _ in right], place])
            right = [(row, one) for row, one in right if one.pages and guesses[row][place : place + 1] == [one.ids[-1]]]
            if not right:
                break
        return tokens

    def _logits(self, requests: Sequence[_Request], guesses: Sequence[Sequence[int]]) -> Tensor:
        """The logits behind what was drawn last and what is guessed to follow, (B, T, V)."""
        if self._graphs and not any(guesses):
            ids, positions = [one.ids[-1] for one in requests], [one.length for one in requests]
            return self._graphs(ids, positions, [one.row_P for one in requests])[:, None]
        hidden_BTD = self._states(requests, [[one.ids[-1], *ids] for one, ids in zip(requests, guesses, strict=True)])
        return self.model.logits(hidden_BTD)

    def _guess(self, one: _Request) -> list[int]:
        """How a request may go on, as far as its pages have room."""
        room_tokens = min(len(one.pages) * PAGE_TOKENS, self.model.config.context_tokens) - len(one.ids)
        return guess(one.ids, min(self.guess_tokens, room_tokens)) if self.guess_tokens else []

    def _states(self, requests: Sequence[_Request], pieces: Sequence[Sequence[int]]) -> Tensor:
        """Read pieces behind what the cache holds of each request. Returns the hidden states, (B, T, D).

        Shorter rows are padded behind: what that leaves in a page is hidden by the mask until it is written over.
        """
        T, most = max(map(len, pieces)), self.model.config.context_tokens
        starts_B1 = torch.tensor([[one.length] for one in requests])
        ids_BT = torch.zeros(len(requests), T, dtype=torch.long)
        positions_BT = (starts_B1 + torch.arange(T)).clamp(max=most - 1)  # where padding goes on, the context may end
        table_BP = torch.zeros(len(requests), pages_for(int(positions_BT.max()) + 1), dtype=torch.long)
        for row, (one, piece) in enumerate(zip(requests, pieces, strict=True)):
            ids_BT[row, : len(piece)] = torch.tensor(piece)
            pages = one.pages[: table_BP.shape[1]]
            table_BP[row, : len(pages)] = torch.tensor(pages)
        ids_BT, table_BP, positions_BT = (tensor.to(self.device) for tensor in (ids_BT, table_BP, positions_BT))
        return self.model(ids_BT, cache=self.cache, table_BP=table_BP, positions_BT=positions_BT)

    def _joined(self, one: _Request) -> list[_Request]:
        """Let the twins of a prompt that was read hold what it holds, its last page copied. Returns those that have room."""
        self.pages.learn(one.ids, one.pages)
        joined, full_pages = [], one.pages[: one.length // PAGE_TOKENS]
        for twin in self._twins(one):
            twin.twin_of = None
            if self._open(twin, full_pages):
                joined.append(twin)
                twin.length = one.length
            else:
                self._wait_again(twin)
        if one.length % PAGE_TOKENS and joined:
            self.cache.copy([one.pages[-1]] * len(joined), [twin.pages[-1] for twin in joined])
            self.counts.found_tokens += len(joined) * (one.length % PAGE_TOKENS)
        return joined

    def _tell_prompt(self, one: _Request, hidden_TD: Tensor) -> None:
        """Note how probable the prompt's tokens are after `hidden_TD`, the states of the positions that are read now."""
        following = one.prompt[one.length + 1 : one.length + 1 + len(hidden_TD)]
        if not following:
            return
        logits_TV = self.model.logits(hidden_TD[: len(following)]).index_fill(1, self.banned, -torch.inf)
        logprobs_TV = logits_TV.log_softmax(dim=1)
        ids_T, most = torch.tensor(following, device=self.device), one.sampling.top_logprobs
        one.read += [ReadToken(*told) for told in _told(logprobs_TV, ids_T, [most] * len(following))]

    def _next(self, requests: Sequence[_Request], logits_BV: Tensor) -> list[Token]:
        """Choose the next token of each request; those that end with it leave their slots and pages."""
        tokens = []
        for one, (token_id, logprob, alternatives) in zip(requests, self._choose(requests, logits_BV), strict=True):
            text, finish = self._take(one, token_id)
            tokens.append(Token(one.number, token_id, text, logprob, finish, alternatives, tuple(one.read)))
            one.read = []
            if finish is not None:
                self._leave(one)
        return tokens

    def _choose(self, requests: Sequence[_Request], logits_BV: Tensor) -> list[Told]:
        """A token for each request, and what is told of it."""
        samplings = [one.sampling for one in requests]
        draws_B = torch.tensor([one.draws.random(dtype=np.float32) for one in requests])
        if self.compiled and logits_BV.is_cpu and all(sampling.plain for sampling in samplings):
            ids_B, logprobs_B = draw_plainly(logits_BV, self.banned, samplings, draws_B)
            return [(token_id, logprob, ()) for token_id, logprob in zip(ids_B.tolist(), logprobs_B.tolist(), strict=True)]
        allowed_BV = logits_BV.index_fill(1, self.banned, -torch.inf)
        logprobs_BV = allowed_BV.log_softmax(dim=1)
        weighings = {row: one.weighing for row, one in enumerate(requests) if one.weighing}
        matchers = {row: one.matcher for row, one in enumerate(requests) if one.matcher}
        matched_BV = matching(weighed(allowed_BV, weighings), matchers)
        ids_B = choose(matched_BV, samplings, draws_B)
        return _told(logprobs_BV, ids_B, [sampling.top_logprobs for sampling in samplings])

    def _take(self, one: _Request, token_id: int) -> tuple[str, Finish | None]:
        """Note a sequence's next token. Returns the text that it adds, and whether and why the text ends there."""
        one.ids.append(token_id)
        if one.weighing:
            one.weighing.push(token_id)
        finish: Finish | None = None
        piece = ""
        if one.matcher and not one.matcher.take(token_id):
            finish = "error"
        elif token_id in self.stop_ids:
            finish = "stop"
        else:
            piece = one.decoder.push(token_id)
            if one.matcher and one.matcher.complete:
                finish = "stop"
            elif one.made == one.sampling.max_tokens or len(one.ids) >= self.model.config.context_tokens:
                finish = "length"
        if finish is not None:
            piece += one.decoder.flush()
        text, met = one.stops.push(piece)
        if met:
            return text, "stop"
        return (text if finish is None else text + one.stops.flush()), finish


def _version(model: Transformer) -> int:
    """A number that grows whenever weights are changed in their places, as training does."""
    return sum(weight._version for weight in model.parameters())


def _room_bytes(device: torch.device) -> int:
    """How much memory a cache may take that nobody gave a size."""
    if device.type != "cuda":
        return MOST_CACHE_BYTES
    return int(GPU_CACHE_FRACTION * torch.cuda.mem_get_info(device)[0])


def _told(logprobs_BV: Tensor, ids_B: Tensor, most_B: Sequence[int]) -> list[Told]:
    """Ids, their log-probabilities and the most probable in their places, as many as asked, fetched in one piece."""
    best = logprobs_BV.topk(min(max(most_B), logprobs_BV.shape[1]), dim=1)
    parts = (ids_B[:, None], logprobs_BV.gather(1, ids_B[:, None]), best.indices, best.values)
    told = []
    for most, (token_id, logprob, *rest) in zip(
        most_B, torch.cat([part.double() for part in parts], dim=1).tolist(), strict=True
    ):
        ids, values = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        alternatives = tuple((int(other), value) for other, value in zip(ids[:most], values[:most], strict=True))
        told.append((int(token_id), logprob, alternatives))
    return told
