"""Models that another server of OpenAI's API runs (vLLM, say), with this server's page, tracing and feedback before them.

A request goes on as it came, but that log-probabilities are always asked for in chats: they are what the flags on an answer
are made of. What comes back is passed on piece by piece. A client that goes away ends the request upstream.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from fastapi import Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from ropewalk.artifact import source_digest
from ropewalk.engine.confidence import LOW_CONFIDENCE, confidence
from ropewalk.runtime.errors import InputError, MachineError, OptionError
from ropewalk.runtime.keys import VARIABLE, api_key
from ropewalk.serve import ServeOptions
from ropewalk.serve.bodies import ChatBody, CompletionBody, conversation
from ropewalk.serve.faults import Refusal, described
from ropewalk.serve.feedback import Answer
from ropewalk.serve.models import origin_of
from ropewalk.serve.waiting import CLIENT_CLOSED_REQUEST, while_there
from ropewalk.tokenizer.chat import Message
from ropewalk.trace.index import Index

CONNECT_SECONDS = 10.0
MOST_EVENT_BYTES = 4_000_000
PASSED_ON = (400, 404, 409, 413, 415, 422, 429)  # what is wrong with the request, or comes too soon: the client's to know
UNKNOWN_PAGES = "tracing unavailable: which pages this model was trained on is not known here"
UNKNOWN_DIGEST = "unknown"
SAMPLING = (
    "temperature", "top_p", "top_k", "min_p", "max_tokens", "max_completion_tokens", "seed", "stop",
    "presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias",
)  # fmt: skip


@dataclass(frozen=True)
class UpstreamModel:
    """A model of the server upstream, as far as it is known here.

    context_tokens: if that server tells it. digest, index: of the folder that it is said to be; else "unknown" and None.
    """

    id: str
    upstream: Upstream
    created: int
    context_tokens: int | None
    third_party: bool
    digest: str
    index: Index | None
    untraceable: str

    def described(self) -> dict[str, object]:
        """Its entry in /v1/models: the fields of a model of ours, null where nothing is known, and `upstream`."""
        return {
            "id": self.id,
            "object": "model",
            "created": self.created,
            "owned_by": "third-party" if self.third_party else "ropewalk",
            "label": f"{self.id} (upstream)",
            "third_party": self.third_party,
            "parameters": None,
            "digest": None if self.digest == UNKNOWN_DIGEST else self.digest,
            "context_tokens": self.context_tokens,
            "converses": True,
            "traceable": self.index is not None,
            "untraceable": self.untraceable or None,
            "upstream": self.upstream.shown,
        }


class Upstream:
    """The server and its models by name. silence_seconds: longest wait for its next byte."""

    def __init__(self, address: str, *, silence_seconds: float) -> None:
        self.address, self.silence_seconds = address.rstrip("/"), silence_seconds
        self.models: dict[str, UpstreamModel] = {}

    @property
    def shown(self) -> str:
        """Its address for people: without what may be a password."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    async def chat(
        self, model: UpstreamModel, body: ChatBody, request: Request, *, remember: Callable[[Answer], None]
    ) -> Response:
        """Answer a conversation. Each finished answer is watched, and given to `remember`.

        Raises:
            Refusal: what the server upstream refuses, or that it cannot be reached.
        """
        asked = await request.json()
        watch = _Watch(model, asked, _plain_messages(body), remember)
        return await self._answer("/chat/completions", asked | {"logprobs": True}, watch, request, stream=bool(body.stream))

    async def complete(self, model: UpstreamModel, body: CompletionBody, request: Request) -> Response:
        """Continue texts; nothing but the name of the response is changed. Raises as `chat`."""
        relay = _Relay(model, "cmpl-")
        return await self._answer("/completions", await request.json(), relay, request, stream=bool(body.stream))

    async def _answer(
        self, path: str, asked: Mapping[str, Any], relay: _Relay, request: Request, *, stream: bool
    ) -> Response:
        if not stream:
            made = await while_there(request, self._whole(path, asked, relay))
            return Response(status_code=CLIENT_CLOSED_REQUEST) if made is None else JSONResponse(made)
        events = self._events(path, asked, relay)
        # What is refused before the first event is a status, as of a model of ours.
        first = await while_there(request, _first(events))
        return Response(status_code=CLIENT_CLOSED_REQUEST) if first is None else _EventStream(first, events)

    async def ask(self, path: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """An answer in one piece, as it came. Raises as `chat`."""
        async with self._asking(path, asked) as response:
            return _parsed(await response.read())

    async def _whole(self, path: str, asked: Mapping[str, Any], relay: _Relay) -> dict[str, Any]:
        return relay.take(await self.ask(path, asked), "message")

    async def _events(self, path: str, asked: Mapping[str, Any], relay: _Relay) -> AsyncGenerator[str, None]:
        async with self._asking(path, asked) as response:
            async for data in _data(response):
                yield _event(relay.take(_parsed(data), "delta"))
        yield "data: [DONE]\n\n"

    @asynccontextmanager
    async def _asking(self, path: str, asked: Mapping[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to a request, its body still to come; left, the connection is closed.

        Raises:
            Refusal: all that can go wrong, also while the body is read.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=self.silence_seconds)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers={"Authorization": f"Bearer {api_key()}"}) as session,
                session.post(self.address + path, json=asked, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise _refused(response.status, await response.read())
                yield response
        except TimeoutError:
            silent = f"The server upstream has said nothing for {self.silence_seconds:g} seconds: try again later."
            raise Refusal(504, silent, code="upstream_silent") from None
        except aiohttp.ClientConnectorError:
            raise Refusal(502, "The server upstream cannot be reached: is it running?", code="upstream_gone") from None
        except aiohttp.ClientError:
            raise _broke_off() from None


def find_upstream(options: ServeOptions, index: Index | None) -> Upstream:
    """Ask the server which models it has.

    Raises:
        OptionError: no address of a server, or a folder for a model that it does not have.
        MachineError: it cannot be reached. InputError: it wants another key, or is none of this kind.
    """
    if not options.upstream.startswith(("http://", "https://")):
        raise OptionError("ropewalk serve: --upstream wants an address, as in http://127.0.0.1:8001/v1")
    upstream = Upstream(options.upstream, silence_seconds=options.upstream_seconds)
    for entry in _listed(upstream):
        folder = options.upstream_folders.get(entry["id"])
        upstream.models[entry["id"]] = _model(upstream, entry, folder, index)
    for name in options.upstream_folders:
        if name not in upstream.models:
            there = ", ".join(upstream.models) or "none"
            raise OptionError(f"ropewalk serve: --upstream-folders: {upstream.shown} has no model {name!r}; it has {there}")
    return upstream


def _listed(upstream: Upstream) -> list[Mapping[str, Any]]:
    request = urllib.request.Request(f"{upstream.address}/models", headers={"Authorization": f"Bearer {api_key()}"})
    try:
        with urllib.request.urlopen(request, timeout=CONNECT_SECONDS) as response:
            return [entry for entry in json.loads(response.read())["data"] if isinstance(entry["id"], str)]
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise InputError(f"{upstream.shown} wants another key: set {VARIABLE}") from None
        raise InputError(f"{upstream.shown}/models answers with status {error.code}: check --upstream") from None
    except OSError as error:
        raise MachineError(f"{upstream.shown} cannot be reached ({error}): start it, or check --upstream") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{upstream.shown} does not answer as OpenAI's API does: check --upstream") from None


def _model(upstream: Upstream, entry: Mapping[str, Any], folder: Path | None, index: Index | None) -> UpstreamModel:
    origin = origin_of(folder, index) if folder else None
    context_tokens = entry.get("max_model_len") or entry.get("context_tokens")
    return UpstreamModel(
        id=entry["id"],
        upstream=upstream,
        created=int(entry.get("created") or 0),
        context_tokens=context_tokens if isinstance(context_tokens, int) else None,
        third_party=origin is None or origin.third_party,
        digest=source_digest(folder)[1] if folder else UNKNOWN_DIGEST,
        index=origin and origin.index,
        untraceable=origin.untraceable if origin else UNKNOWN_PAGES,
    )


class _Relay:
    """What passes is given a name that this server knows."""

    def __init__(self, model: UpstreamModel, prefix: str) -> None:
        self.model, self.id = model, prefix + uuid.uuid4().hex

    def take(self, made: dict[str, Any], field: str) -> dict[str, Any]:
        """A whole answer or a chunk of one, as it is passed on. field: where a choice has its words."""
        return made | {"id": self.id, "model": self.model.id}


class _Watch(_Relay):
    """A chat's choices on their way: their words and log-probabilities are noted, and told of when each is finished."""

    def __init__(
        self,
        model: UpstreamModel,
        asked: Mapping[str, Any],
        messages: Sequence[Message] | None,
        remember: Callable[[Answer], None],
    ) -> None:
        super().__init__(model, "chatcmpl-")
        self.asked, self.messages, self.remember = asked, messages, remember
        self.created = int(time.time())
        self.texts: dict[int, list[str]] = defaultdict(list)
        self.logprobs: dict[int, list[float]] = defaultdict(list)
        self.calls: set[int] = set()  # choices that call a tool: no words of theirs can be judged

    def take(self, made: dict[str, Any], field: str) -> dict[str, Any]:
        try:
            choices = [self._choice(choice, field) for choice in made.get("choices") or []]
        except (KeyError, TypeError, AttributeError):
            raise strange() from None
        return super().take(made, field) | {"choices": choices, "notice": None}

    def _choice(self, choice: dict[str, Any], field: str) -> dict[str, Any]:
        number, said = int(choice["index"]), choice.get(field) or {}
        self.texts[number].append(said.get("content") or "")
        self.logprobs[number] += [float(entry["logprob"]) for entry in (choice.get("logprobs") or {}).get("content") or ()]
        if said.get("tool_calls"):
            self.calls.add(number)
        shown = dict(choice) if self.asked.get("logprobs") else choice | {"logprobs": None}
        if choice.get("finish_reason") is None:
            return shown
        self._remember(number, choice["finish_reason"])
        return shown | _certainty(self.logprobs[number])

    def _remember(self, number: int, finish: str) -> None:
        if self.messages is None or number in self.calls:
            return
        self.remember(
            Answer(
                id=self.id,
                choice=number,
                created=self.created,
                model=self.model.id,
                model_digest=self.model.digest,
                messages=self.messages,
                text="".join(self.texts[number]),
                finish=finish,
                prompt_ids=(),
                token_ids=(),
                logprobs=self.logprobs[number],
                sampling={name: self.asked[name] for name in SAMPLING if self.asked.get(name) is not None},
            )
        )


class _EventStream(StreamingResponse):
    """Server-sent events; however the response ends, the request upstream ends with it."""

    media_type = "text/event-stream"

    def __init__(self, first: str, events: AsyncGenerator[str, None]) -> None:
        super().__init__(_told(first, events))
        self.events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.events.aclose()


async def _first(events: AsyncIterator[str]) -> str:
    return await anext(events)


async def _told(first: str, events: AsyncIterator[str]) -> AsyncIterator[str]:
    """The events; what ends them before their time is the last of them."""
    yield first
    try:
        async for event in events:
            yield event
    except Refusal as refusal:
        yield _event(described(refusal.status, str(refusal)))


async def _data(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """What the events of a response hold, up to its [DONE]."""
    rest = b""
    async for piece in response.content.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > MOST_EVENT_BYTES:
            raise strange()
        for line in lines:
            if line.startswith(b"data:"):
                data = line.removeprefix(b"data:").strip()
                if data == b"[DONE]":
                    return
                yield data
    raise _broke_off()


def _parsed(data: bytes) -> dict[str, Any]:
    """An object of JSON, or what the server says went wrong in the middle of an answer."""
    try:
        made = json.loads(data)
    except ValueError:
        raise strange() from None
    if not isinstance(made, dict):
        raise strange()
    if made.get("error"):
        raise Refusal(502, f"The server upstream gave up: {_message(made)}")
    return made


def _refused(status: int, data: bytes) -> Refusal:
    """What its status and words come to here."""
    try:
        said = _message(json.loads(data))
    except ValueError:
        said = f"status {status}."
    if status in (401, 403):
        return Refusal(502, f"The server upstream wants another key: set {VARIABLE} where this server is started.")
    if status in PASSED_ON:
        return Refusal(status, said)
    return Refusal(502, f"The server upstream failed: {said}")


def _message(made: Any) -> str:
    """Its sentence: OpenAI's form has it under `error`, older servers beside."""
    try:
        error = made.get("error", made)
        return " ".join(str(error["message"]).split())[:1_000]
    except (AttributeError, KeyError, TypeError):
        return "it did not say why."


def strange() -> Refusal:
    """What came is none of OpenAI's API."""
    return Refusal(502, "The server upstream does not answer as OpenAI's API does.", code="upstream_strange")


def _broke_off() -> Refusal:
    return Refusal(502, "The server upstream broke off in the middle of the answer.", code="upstream_gone")


def _certainty(logprobs: Sequence[float]) -> dict[str, Any]:
    """As of a model of ours, but without the token that ends an answer; null if no log-probabilities came."""
    if not logprobs:
        return {"confidence": None, "low_confidence": None}
    least = confidence(logprobs)
    return {"confidence": round(least, 4), "low_confidence": least < LOW_CONFIDENCE}


def _plain_messages(body: ChatBody) -> list[Message] | None:
    """The conversation as it is kept with a judgement; None for one with more than text in it, which is not kept."""
    try:
        return conversation(body.messages)
    except Refusal:
        return None


def _event(made: dict[str, Any]) -> str:
    return f"data: {json.dumps(made, separators=(',', ':'))}\n\n"
