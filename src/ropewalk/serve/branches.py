"""What may come next: the most probable tokens behind a text and the tokens chosen after it, for a tree of continuations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field

from ropewalk.engine.sampling import Sampling
from ropewalk.serve.bodies import MOST_MESSAGES, MOST_TOP_LOGPROBS, Text, TokenId
from ropewalk.serve.faults import Refusal
from ropewalk.serve.models import ServedModel
from ropewalk.serve.replies import LEAST_LOGPROB
from ropewalk.serve.runner import Runner
from ropewalk.serve.tokenizing import one_given, read_ids
from ropewalk.serve.upstream import UpstreamModel, strange

MOST_PATH_TOKENS = 500


class NextBody(BaseModel):
    """POST /v1/next: a prompt or messages, and the tokens chosen behind it so far."""

    model: str
    prompt: Text | None = None
    messages: Annotated[list[Any], Field(min_length=1, max_length=MOST_MESSAGES)] | None = None
    path: Annotated[list[TokenId], Field(max_length=MOST_PATH_TOKENS)] = Field(default_factory=list)
    count: Annotated[int, Field(ge=1, le=MOST_TOP_LOGPROBS)] = 10


async def next_tokens(model: ServedModel, runner: Runner, body: NextBody) -> dict[str, Any]:
    """The tokens that may come next, the most probable first, with log-probabilities as everywhere in the API.

    text: what the path says. Of each token: `ends`, whether it ends the text; `id`, by which a path goes on with it.

    Raises:
        Refusal: neither a prompt nor messages, or both; the queue is full.
        InputError: text and path are too long for the model, or hold an id that is none of its vocabulary's.
    """
    ids = [*read_ids(model, prompt=body.prompt, messages=body.messages), *body.path]
    ticket = await runner.submit([(ids, Sampling(max_tokens=1, temperature=0, top_logprobs=body.count))])
    try:
        [(_, made)] = [pair async for pair in ticket.tokens()]
    finally:
        ticket.cancel()
    return {
        "object": "next",
        "model": model.id,
        "text": model.engine.tokenizer.decode(body.path),
        "tokens": [_described(model, token_id, logprob) for token_id, logprob in made.alternatives],
    }


async def next_tokens_upstream(model: UpstreamModel, body: NextBody) -> dict[str, Any]:
    """The same of a model upstream, which tells no ids: no path goes on behind its tokens, and none is known to end a text.

    Raises:
        Refusal: neither a prompt nor messages, or both; a path; no probabilities are told; or what goes wrong upstream.
    """
    one_given(body.prompt, body.messages)
    if body.path:
        raise Refusal(400, "The server upstream tells what may come next, and not what would come after that.", param="path")
    asked = {"model": model.id, "max_tokens": 1, "temperature": 0}
    if body.messages is not None:
        asked |= {"messages": body.messages, "logprobs": True, "top_logprobs": body.count}
        made = await model.upstream.ask("/chat/completions", asked)
    else:
        made = await model.upstream.ask("/completions", {**asked, "prompt": body.prompt, "logprobs": body.count})
    try:
        told = _told_next(made["choices"][0].get("logprobs") or {})
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        raise strange() from None
    if not told:
        raise Refusal(
            409, f"The server upstream tells no probabilities of what {model.id!r} may say next: there is no tree."
        )
    told.sort(key=lambda one: -one["logprob"])
    return {"object": "next", "model": model.id, "text": "", "tokens": told[: body.count]}


def _told_next(logprobs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The first token's alternatives, as chats and as completions tell them."""
    if "content" in logprobs:
        entries = [one for first in (logprobs["content"] or ())[:1] for one in first["top_logprobs"]]
    else:
        tops = (logprobs.get("top_logprobs") or [None])[0] or {}
        entries = [{"token": token, "logprob": logprob} for token, logprob in tops.items()]
    return [
        {
            "id": None,
            "text": str(one["token"]),
            "bytes": bytes([*(one.get("bytes") or str(one["token"]).encode("utf-8", "replace"))]).hex(),
            "logprob": min(0.0, max(LEAST_LOGPROB, float(one["logprob"]))),  # in this order, NaN is the least
            "ends": False,
        }
        for one in entries
    ]


def _described(model: ServedModel, token_id: int, logprob: float) -> dict[str, Any]:
    spelled = model.engine.tokenizer.token(token_id)
    return {
        "id": token_id,
        "text": spelled.decode("utf-8", "replace"),
        "bytes": spelled.hex(),
        "logprob": max(logprob, LEAST_LOGPROB),
        "ends": token_id in model.engine.stop_ids,
    }
