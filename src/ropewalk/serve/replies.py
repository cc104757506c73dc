"""An engine's tokens in OpenAI's words: whole answers and the pieces of streamed ones."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ropewalk.engine.confidence import LOW_CONFIDENCE, confidence
from ropewalk.engine.engine import Token
from ropewalk.engine.sampling import Sampling
from ropewalk.serve.conversation import Prompt
from ropewalk.serve.faults import Refusal, described
from ropewalk.serve.models import ServedModel
from ropewalk.serve.runner import Ticket


@dataclass(frozen=True)
class Job:
    """One request, ready to run.

    chat: answer a conversation, else continue a text. logprobs, usage: whether to tell of tokens, and of their number at the
    end of a stream.
    """

    model: ServedModel
    chat: bool
    prompt: Prompt
    samplings: list[Sampling]
    logprobs: bool
    usage: bool = False
    created: int = field(default_factory=lambda: int(time.time()))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


async def whole(job: Job, ticket: Ticket) -> dict[str, Any]:
    """The answer in one piece."""
    made: list[list[Token]] = [[] for _ in job.samplings]
    async for choice, token in ticket.tokens():
        made[choice].append(token)
    choices = []
    for number, tokens in enumerate(made):
        text = "".join(token.text for token in tokens)
        said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if job.chat else {"text": text}
        choices.append(_choice(job, number, said, tokens) | _certainty(tokens))
    return _envelope(job, choices) | {"usage": _usage(job, sum(map(len, made)))}


async def pieces(job: Job, ticket: Ticket) -> AsyncIterator[str]:
    """The answer as server-sent events; an engine that stops meanwhile is the last of them."""
    try:
        async for piece in _pieces(job, ticket):
            yield _event(piece)
        yield "data: [DONE]\n\n"
    except Refusal as refusal:
        yield _event(described(refusal.status, str(refusal)))


async def _pieces(job: Job, ticket: Ticket) -> AsyncIterator[dict[str, Any]]:
    """A piece for each token, so that text and probabilities stay together."""
    made: list[list[Token]] = [[] for _ in job.samplings]
    offsets = [0] * len(made)
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
        made[number].append(token)
        said: dict[str, Any] = {"delta": {"content": token.text} if token.text else {}} if job.chat else {"text": token.text}
        choice = _choice(job, number, said, [token], offset=offsets[number])
        offsets[number] += len(token.text)
        if token.finish is not None:
            choice |= _certainty(made[number])
        yield _envelope(job, [choice], piece=True)
    if job.usage:
        yield _envelope(job, [], piece=True) | {"usage": _usage(job, sum(map(len, made)))}


def _event(value: object) -> str:
    return f"data: {json.dumps(value, separators=(',', ':'))}\n\n"


def _envelope(job: Job, choices: list[dict[str, Any]], *, piece: bool = False) -> dict[str, Any]:
    """What surrounds the choices. `notice` is ours: a sentence on what the model did not read, or null."""
    return {
        "id": ("chatcmpl-" if job.chat else "cmpl-") + job.id,
        "object": ("chat.completion.chunk" if piece else "chat.completion") if job.chat else "text_completion",
        "created": job.created,
        "model": job.model.id,
        "system_fingerprint": job.model.digest[:12],
        "choices": choices,
        "notice": job.prompt.notice or None,
    }


def _choice(job: Job, number: int, said: dict[str, Any], tokens: Sequence[Token], *, offset: int = 0) -> dict[str, Any]:
    """One choice, or what `tokens` add to it; `offset` is where in its text they begin."""
    shown = [token for token in tokens if token.id not in job.model.engine.stop_ids] if job.logprobs else None
    logprobs = None
    if shown is not None:
        logprobs = _chat_logprobs(job, shown) if job.chat else _text_logprobs(job, shown, offset)
    return {"index": number, **said, "logprobs": logprobs, "finish_reason": tokens[-1].finish}


def _certainty(tokens: Sequence[Token]) -> dict[str, Any]:
    """Ours: how sure the model was of a whole answer, and whether that is little."""
    least = confidence([token.logprob for token in tokens])
    return {"confidence": round(least, 4), "low_confidence": least < LOW_CONFIDENCE}


def _chat_logprobs(job: Job, tokens: Sequence[Token]) -> dict[str, Any]:
    entries = [
        {
            **_named(job, token.id, token.logprob),
            "top_logprobs": [_named(job, other, logprob) for other, logprob in token.alternatives],
        }
        for token in tokens
    ]
    return {"content": entries, "refusal": None}


def _named(job: Job, token_id: int, logprob: float) -> dict[str, Any]:
    spelled = job.model.engine.tokenizer.token(token_id)
    return {"token": spelled.decode("utf-8", "replace"), "logprob": max(logprob, -9999.0), "bytes": list(spelled)}


def _text_logprobs(job: Job, tokens: Sequence[Token], offset: int) -> dict[str, Any]:
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    names = [_named(job, token.id, token.logprob)["token"] for token in tokens]
    tops = [
        {entry["token"]: entry["logprob"] for entry in (_named(job, *other) for other in token.alternatives)}
        for token in tokens
    ]
    logprobs = [max(token.logprob, -9999.0) for token in tokens]
    return {"tokens": names, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets}


def _usage(job: Job, made: int) -> dict[str, int]:
    read = len(job.prompt.ids)
    return {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}
