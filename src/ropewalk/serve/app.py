"""The routes: OpenAI's API, tracing, and the chat page."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from ropewalk.engine.generate import document_prompt
from ropewalk.engine.sampling import Sampling
from ropewalk.runtime.errors import InputError
from ropewalk.serve.bodies import Body, ChatBody, CompletionBody, TokensBody, TraceBody
from ropewalk.serve.conversation import Prompt, conversation_prompt
from ropewalk.serve.faults import Refusal, fault
from ropewalk.serve.guard import Guard
from ropewalk.serve.models import ServedModel
from ropewalk.serve.replies import Job, pieces, whole
from ropewalk.serve.runner import Runner, Ticket
from ropewalk.serve.tokens import Vocabularies
from ropewalk.serve.tracing import trace_answer
from ropewalk.serve.training_page import missing_page, shown_page

PAGE = Path(__file__).parent / "page"
CLIENT_CLOSED_REQUEST = 499


class EventStream(StreamingResponse):
    """Server-sent events of a ticket, which is cancelled however the response ends: when the client is gone, most of all."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str], ticket: Ticket) -> None:
        super().__init__(events)
        self.ticket = ticket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.ticket.cancel()


class Service:
    """The models and their runners; the methods are the routes."""

    def __init__(self, models: Mapping[str, ServedModel], *, most_waiting: int, starters: Sequence[str]) -> None:
        self.models = models
        self.runners = {name: Runner(model.engine, most_waiting=most_waiting) for name, model in models.items()}
        self.indexes = {model.index.corpus_digest: model.index for model in models.values() if model.index is not None}
        self.vocabularies = Vocabularies({name: model.engine.tokenizer for name, model in models.items()})
        self.starters = list(starters)

    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        """Keep the engines' threads while the server runs."""
        for runner in self.runners.values():
            runner.start()
        try:
            yield
        finally:
            for runner in self.runners.values():
                await run_in_threadpool(runner.stop)

    async def chat(self, body: ChatBody, request: Request) -> Response:
        """POST /v1/chat/completions."""
        model = self._model(body)
        most = body.max_completion_tokens or body.max_tokens or model.engine.model.config.context_tokens
        prompt = conversation_prompt(model.engine, body.conversation(), converses=model.converses, answer_tokens=most)
        logprobs = bool(body.logprobs)
        samplings = _samplings(body, max_tokens=most, top_logprobs=(body.top_logprobs or 0) if logprobs else 0)
        return await self._answered(body, request, Job(model, True, prompt, samplings, logprobs, _wants_usage(body)))

    async def complete(self, body: CompletionBody, request: Request) -> Response:
        """POST /v1/completions."""
        model = self._model(body)
        prompt = Prompt(document_prompt(model.engine, body.prompt), left_out=0)
        samplings = _samplings(body, max_tokens=body.max_tokens or 16, top_logprobs=body.logprobs or 0)
        job = Job(model, False, prompt, samplings, body.logprobs is not None, _wants_usage(body))
        return await self._answered(body, request, job)

    async def list_models(self) -> dict[str, Any]:
        """GET /v1/models."""
        return {"object": "list", "data": [model.described() for model in self.models.values()]}

    async def one_model(self, name: str) -> dict[str, Any]:
        """GET /v1/models/{name}."""
        return self._named(name).described()

    async def trace(self, body: TraceBody) -> dict[str, Any]:
        """POST /v1/trace."""
        return await run_in_threadpool(trace_answer, self._named(body.model), body.text, body.about)

    async def tokens(self, body: TokensBody) -> dict[str, Any]:
        """POST /v1/tokens: a text as a vocabulary cuts it."""
        return await run_in_threadpool(self.vocabularies.cut, body.vocabulary, body.text)

    async def list_vocabularies(self) -> dict[str, Any]:
        """GET /v1/vocabularies: the models', and GPT-2's and GPT-4's if they are on this machine, with their sizes."""
        return {"data": await run_in_threadpool(self.vocabularies.described)}

    async def list_starters(self) -> dict[str, Any]:
        """GET /starters: questions that the chat page offers to begin with."""
        return {"starters": self.starters}

    async def health(self) -> Response:
        """GET /health: how many answers are under way, and whether all engines work."""
        works = all(runner.works for runner in self.runners.values())
        in_flight = {name: runner.in_flight for name, runner in self.runners.items()}
        status = "ok" if works else "a model has stopped"
        return JSONResponse({"status": status, "in_flight": in_flight}, status_code=200 if works else 503)

    async def training_page(self, page_id: str, start: int = 0, end: int = 0) -> HTMLResponse:
        """GET /pages/{page_id}: the page as it was read, characters `start` to `end` marked."""
        for index in self.indexes.values():
            page = await run_in_threadpool(index.page, page_id)
            if page is not None:
                return HTMLResponse(shown_page(page, start=start, end=end))
        return HTMLResponse(missing_page(), status_code=404)

    async def chat_page(self) -> FileResponse:
        """GET /: the chat page."""
        return FileResponse(PAGE / "index.html")

    async def tokens_page(self) -> FileResponse:
        """GET /tokens: a page that shows how texts are cut."""
        return FileResponse(PAGE / "tokens.html")

    def _model(self, body: Body) -> ServedModel:
        body.refuse_unknown()
        return self._named(body.model)

    def _named(self, name: str) -> ServedModel:
        if name not in self.models:
            there = ", ".join(map(repr, self.models))
            raise Refusal(
                404, f"There is no model {name!r} here: take one of {there}.", param="model", code="model_not_found"
            )
        return self.models[name]

    async def _answered(self, body: Body, request: Request, job: Job) -> Response:
        ticket = self.runners[job.model.id].submit(job.prompt.ids, job.samplings)
        if body.stream:
            return EventStream(pieces(job, ticket), ticket)
        answer = asyncio.create_task(whole(job, ticket))
        gone = asyncio.create_task(_disconnected(request))
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            return JSONResponse(answer.result()) if answer.done() else Response(status_code=CLIENT_CLOSED_REQUEST)
        finally:
            ticket.cancel()
            answer.cancel()
            gone.cancel()


def make_app(service: Service, *, hosts: frozenset[str] | None, api_key: str) -> FastAPI:
    """Put the service's methods under their addresses."""
    # Swagger's page loads its scripts from elsewhere, so it stays away.
    app = FastAPI(title="ropewalk", lifespan=service.running, docs_url=None, redoc_url=None)
    app.add_api_route("/v1/chat/completions", service.chat, methods=["POST"], response_model=None)
    app.add_api_route("/v1/completions", service.complete, methods=["POST"], response_model=None)
    app.add_api_route("/v1/models", service.list_models, methods=["GET"])
    app.add_api_route("/v1/models/{name:path}", service.one_model, methods=["GET"])
    app.add_api_route("/v1/trace", service.trace, methods=["POST"])
    app.add_api_route("/v1/tokens", service.tokens, methods=["POST"])
    app.add_api_route("/v1/vocabularies", service.list_vocabularies, methods=["GET"])
    app.add_api_route("/starters", service.list_starters, methods=["GET"])
    app.add_api_route("/health", service.health, methods=["GET"], response_model=None)
    app.add_api_route("/pages/{page_id}", service.training_page, methods=["GET"], response_class=HTMLResponse)
    app.add_api_route("/", service.chat_page, methods=["GET"], response_class=HTMLResponse, include_in_schema=False)
    app.add_api_route("/tokens", service.tokens_page, methods=["GET"], response_class=HTMLResponse, include_in_schema=False)
    app.mount("/page", StaticFiles(directory=PAGE))
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(InputError, _mistake)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _broken)
    app.add_middleware(Guard, hosts=hosts, api_key=api_key)
    return app


def _samplings(body: Body, *, max_tokens: int, top_logprobs: int) -> list[Sampling]:
    """One for each choice, at seeds that follow each other; without a seed, from anywhere."""
    seed = random.getrandbits(32) if body.seed is None else body.seed
    return [
        Sampling(
            max_tokens=max_tokens,
            temperature=1.0 if body.temperature is None else body.temperature,
            top_k=max(body.top_k or 0, 0),
            top_p=body.top_p or 1.0,
            seed=seed + number,
            stop=tuple(body.stop or ()),
            top_logprobs=top_logprobs,
        )
        for number in range(body.n or 1)
    ]


def _wants_usage(body: Body) -> bool:
    return body.stream_options is not None and body.stream_options.include_usage


async def _disconnected(request: Request) -> None:
    """Come back when the client has gone. The guard has read the body, so nothing else is to come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return fault(error.status, str(error), param=error.param, code=error.code)


async def _mistake(request: Request, error: Exception) -> Response:
    sentence = str(error)
    return fault(400, f"{sentence[0].upper()}{sentence[1:].removesuffix('.')}.")


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return fault(400, "The body is not JSON: send an object, as application/json.")
    where = first["loc"][1:]  # after "body"
    if not where:
        return fault(400, "The body is not a JSON object: send one, as application/json.")
    name = str(where[0])
    reason = "is missing" if first["type"] == "missing" else f"is wrong: {first['msg'][0].lower()}{first['msg'][1:]}"
    return fault(400, f"{name} {reason}.", param=name)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reasons = {404: "There is nothing at this address.", 405: "This address does not take this method."}
    return fault(error.status_code, reasons.get(error.status_code, f"{error.detail}."))


async def _broken(request: Request, error: Exception) -> Response:
    """Our own bug. Its traceback goes to the terminal, not to the client."""
    return fault(500, "The server made a mistake: its terminal says which.")
