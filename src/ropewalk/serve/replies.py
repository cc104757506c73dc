"""An engine's tokens in OpenAI's words: whole answers and the pieces of streamed ones."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ropewalk.engine.confidence import LOW_CONFIDENCE, confidence
from ropewalk.engine.engine import Finish, ReadToken, Token
from ropewalk.engine.sampling import Sampling
from ropewalk.serve.faults import Refusal, described
from ropewalk.serve.models import ServedModel
from ropewalk.serve.runner import Ticket
from ropewalk.serve.tools import CallReader
from ropewalk.tokenizer.chat import Message
from ropewalk.tokenizer.encoding import StreamingDecoder
from ropewalk.tokenizer.thinking import ThoughtReader

LEAST_LOGPROB = -9999.0  # JSON knows no infinity


@dataclass(frozen=True)
class Choice:
    """One text to make: the ids that the model reads, and how it goes on.

    echoed: those of the ids that are said before the text.
    """

    prompt: Sequence[int]
    sampling: Sampling
    echoed: Sequence[int] = ()


@dataclass(frozen=True)
class Job:
    """One request, ready to run.

    chat: answer a conversation, else continue a text. prompt_tokens: of all prompts, each counted once. notice: a sentence
    on what the model did not read. logprobs, usage: whether to tell of tokens, and of their number at the end of a stream.
    silent: nothing is to be made, only the prompt is told of. tools: names of those that may be called.
    messages: the conversation that is answered. remember: is given each choice's tokens before its end is told.
    """

    model: ServedModel
    chat: bool
    choices: Sequence[Choice]
    prompt_tokens: int
    logprobs: bool
    usage: bool = False
    notice: str = ""
    silent: bool = False
    tools: frozenset[str] = frozenset()
    messages: Sequence[Message] = ()
    remember: Callable[[Job, int, Sequence[Token]], None] = lambda job, number, tokens: None
    created: int = field(default_factory=lambda: int(time.time()))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class _Said:
    """A token as it is shown: of the prompt or of what was made."""

    id: int
    text: str
    logprob: float | None
    alternatives: Sequence[tuple[int, float]]


class _Readers:
    """What parts one answer into thoughts, calls of tools, and the rest."""

    def __init__(self, job: Job) -> None:
        self.offered = bool(job.tools)
        self.thoughts, self.calls = ThoughtReader(), CallReader(job.tools)

    def push(self, text: str, *, ends: bool) -> tuple[str, str, list[dict[str, Any]]]:
        """Take the next piece. Returns what is thought, what is said, and the calls that are complete with it."""
        thought, said = self.thoughts.push(text)
        if ends:
            more_thought, rest = self.thoughts.flush()
            thought, said = thought + more_thought, said + rest
        if not self.offered:  # nothing is held back that may begin a call
            return thought, said, []
        said, calls = self.calls.push(said)
        if ends:
            rest, last = self.calls.flush()
            said, calls = said + rest, calls + last
        return thought, said, calls


async def whole(job: Job, ticket: Ticket) -> dict[str, Any]:
    """The answer in one piece.

    Raises:
        Refusal: the engine has stopped, or a grammar led to where nothing can follow.
    """
    made: list[list[Token]] = [[] for _ in job.choices]
    async for number, token in ticket.tokens():
        made[number].append(token)
    choices = []
    for number, tokens in enumerate(made):
        _refuse_stuck(tokens[-1].finish)
        job.remember(job, number, tokens)
        said = [*_echoed(job, number, tokens[0].read), *_said(job, tokens)]
        words, finish = _words(job, said, tokens[-1].finish, _Readers(job))
        choices.append(_choice(job, number, words, said, finish=finish) | _certainty(job, tokens))
    return _envelope(job, choices) | {"usage": _usage(job, sum(map(len, made)))}


async def pieces(job: Job, ticket: Ticket) -> AsyncIterator[str]:
    """The answer as server-sent events; what ends it before its time is the last of them."""
    try:
        async for piece in _pieces(job, ticket):
            yield _event(piece)
        yield "data: [DONE]\n\n"
    except Refusal as refusal:
        yield _event(described(refusal.status, str(refusal)))


async def _pieces(job: Job, ticket: Ticket) -> AsyncIterator[dict[str, Any]]:
    """A piece for each token, so that text and probabilities stay together; before the first, what is echoed."""
    made: list[list[Token]] = [[] for _ in job.choices]
    offsets = [0] * len(made)
    readers = [_Readers(job) for _ in made]
    if job.chat:
        for number in range(len(made)):
            opening = {
                "index": number,
                "delta": {"role": "assistant", "content": ""},
                "logprobs": None,
                "finish_reason": None,
            }
            yield _envelope(job, [opening], piece=True)
    async for number, token in ticket.tokens():
        _refuse_stuck(token.finish)
        echoed = _echoed(job, number, token.read) if not made[number] else []
        made[number].append(token)
        said = [*echoed, *_said(job, [token])]
        words, finish = _words(job, said, token.finish, readers[number], piece=True)
        choice = _choice(job, number, words, said, finish=finish, offset=offsets[number])
        offsets[number] += sum(len(one.text) for one in said)
        if token.finish is not None:
            job.remember(job, number, made[number])
            choice |= _certainty(job, made[number])
        yield _envelope(job, [choice], piece=True)
    if job.usage:
        yield _envelope(job, [], piece=True) | {"usage": _usage(job, sum(map(len, made)))}


def _refuse_stuck(finish: Finish | None) -> None:
    if finish == "error":
        raise Refusal(
            400, "The form that the text must have became too complex, or this model's vocabulary cannot spell it.",
            param="structured_outputs",
        )  # fmt: skip


def _echoed(job: Job, number: int, read: Sequence[ReadToken]) -> list[_Said]:
    """What is echoed of a prompt; `read` is what the engine told of all of it, if it was asked."""
    choice = job.choices[number]
    decoder = StreamingDecoder(job.model.engine.tokenizer)
    texts = [decoder.push(token_id) for token_id in choice.echoed]
    if texts:
        texts[-1] += decoder.flush()
    told = read[len(read) - len(texts) :] if read else [ReadToken(token_id, None) for token_id in choice.echoed]
    return [_Said(one.id, text, one.logprob, one.alternatives) for one, text in zip(told, texts, strict=True)]


def _said(job: Job, tokens: Sequence[Token]) -> list[_Said]:
    """What was made."""
    return [] if job.silent else [_Said(token.id, token.text, token.logprob, token.alternatives) for token in tokens]


def _event(value: object) -> str:
    return f"data: {json.dumps(value, separators=(',', ':'))}\n\n"


def response_id(job: Job) -> str:
    """What the response is called."""
    return ("chatcmpl-" if job.chat else "cmpl-") + job.id


def _envelope(job: Job, choices: list[dict[str, Any]], *, piece: bool = False) -> dict[str, Any]:
    """What surrounds the choices. `notice` is ours: a sentence on what the model did not read, or null."""
    return {
        "id": response_id(job),
        "object": ("chat.completion.chunk" if piece else "chat.completion") if job.chat else "text_completion",
        "created": job.created,
        "model": job.model.id,
        "system_fingerprint": job.model.digest[:12],
        "choices": choices,
        "notice": job.notice or None,
    }


def _words(
    job: Job, said: Sequence[_Said], finish: Finish | None, readers: _Readers, *, piece: bool = False
) -> tuple[dict[str, Any], str | None]:
    """What is said as the fields of a choice, and why it ends there. Thoughts and calls of tools are taken out of an answer.

    Thoughts are called what vLLM calls them.
    """
    text = "".join(one.text for one in said)
    if not job.chat:
        return {"text": text}, "length" if job.silent else finish
    thought, text, calls = readers.push(text, ends=finish is not None)
    ended = "tool_calls" if finish == "stop" and readers.calls.count else finish
    if piece:
        fields = {"reasoning_content": thought, "content": text, "tool_calls": calls}
        return {"delta": {name: value for name, value in fields.items() if value}}, ended
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thought:
        message["reasoning_content"] = thought.strip()
    if calls:
        whole_calls = [{name: value for name, value in call.items() if name != "index"} for call in calls]
        message |= {"content": text.strip() or None, "tool_calls": whole_calls}
    return {"message": message}, ended


def _choice(
    job: Job, number: int, words: dict[str, Any], said: Sequence[_Said], *, finish: str | None, offset: int = 0
) -> dict[str, Any]:
    """One choice, or what `said` adds to it; `offset` is where in its text that begins."""
    logprobs = None
    if job.logprobs:
        logprobs = _chat_logprobs(job, said) if job.chat else _text_logprobs(job, said, offset)
    return {"index": number, **words, "logprobs": logprobs, "finish_reason": finish}


def _certainty(job: Job, tokens: Sequence[Token]) -> dict[str, Any]:
    """Ours: how sure the model was of a whole answer, and whether that is little."""
    if job.silent:
        return {}
    least = confidence([token.logprob for token in tokens])
    return {"confidence": round(least, 4), "low_confidence": least < LOW_CONFIDENCE}


def _chat_logprobs(job: Job, said: Sequence[_Said]) -> dict[str, Any]:
    """One entry a token, but for the one that ends the answer. (Plain completions list that, as OpenAI's do.)"""
    entries = [
        {
            **_named(job, one.id, one.logprob or 0.0),
            "top_logprobs": [_named(job, other, logprob) for other, logprob in one.alternatives],
        }
        for one in said
        if one.id not in job.model.engine.stop_ids
    ]
    return {"content": entries, "refusal": None}


def _named(job: Job, token_id: int, logprob: float) -> dict[str, Any]:
    spelled = job.model.engine.tokenizer.token(token_id)
    return {"token": spelled.decode("utf-8", "replace"), "logprob": max(logprob, LEAST_LOGPROB), "bytes": list(spelled)}


def _text_logprobs(job: Job, said: Sequence[_Said], offset: int) -> dict[str, Any]:
    """Four lists. A prompt's first token has no probability; a token that is not among the best stands beside them."""
    tokens, logprobs, tops, offsets = [], [], [], []
    for one in said:
        named = [_named(job, other, logprob) for other, logprob in one.alternatives]
        if one.logprob is not None:
            named.append(_named(job, one.id, one.logprob))
        best: dict[str, float] = {}
        for entry in named:
            best.setdefault(entry["token"], entry["logprob"])  # of bytes that show alike, the most probable
        tokens.append(_named(job, one.id, 0.0)["token"])
        logprobs.append(None if one.logprob is None else max(one.logprob, LEAST_LOGPROB))
        tops.append(None if one.logprob is None else best)
        offsets.append(offset)
        offset += len(one.text)
    return {"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets}


def _usage(job: Job, made: int) -> dict[str, int]:
    made = 0 if job.silent else made
    return {"prompt_tokens": job.prompt_tokens, "completion_tokens": made, "total_tokens": job.prompt_tokens + made}
