"""The routes: OpenAI's API, tracing, and the chat page."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
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
from ropewalk.runtime.errors import InputError, MachineError
from ropewalk.serve.administration import admin_routes
from ropewalk.serve.bodies import (
    Body,
    ChatBody,
    CompletionBody,
    DetokenizeBody,
    JudgementBody,
    TokenizeBody,
    TokensBody,
    TraceBody,
)
from ropewalk.serve.chats import ChatRoutes
from ropewalk.serve.conversation import conversation_prompt
from ropewalk.serve.conversations import Conversations
from ropewalk.serve.doing import DoingRoutes
from ropewalk.serve.faults import Refusal, fault
from ropewalk.serve.feedback import Store
from ropewalk.serve.guard import Guard
from ropewalk.serve.judging import REASONS, Judging
from ropewalk.serve.keys import Keys
from ropewalk.serve.lab import Lab, lab_routes
from ropewalk.serve.looking import look_routes
from ropewalk.serve.metrics import MEDIA_TYPE, Metrics
from ropewalk.serve.models import ServedModel
from ropewalk.serve.replies import Choice, Job, pieces, whole
from ropewalk.serve.runner import Runner, Ticket
from ropewalk.serve.tokenizing import detokenized, tokenized, tokenizer_info
from ropewalk.serve.tokens import Vocabularies
from ropewalk.serve.tracing import trace_answer
from ropewalk.serve.training_page import missing_page, shown_page
from ropewalk.serve.upstream import Upstream, UpstreamModel
from ropewalk.serve.waiting import CLIENT_CLOSED_REQUEST, while_there
from ropewalk.trace.index import Index

PAGE = Path(__file__).parent / "page"
COMPLETION_TOKENS = 16  # of a plain completion that does not say, as OpenAI's


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

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        *,
        most_waiting: int,
        most_tokens: int = 0,
        starters: Sequence[str],
        feedback: Store | None = None,
        load: Callable[[Mapping[str, ServedModel]], Mapping[str, ServedModel]] = dict,
        runs: tuple[Path, ...] = (),
        upstream: Upstream | None = None,
        lab: Lab | None = None,
        conversations: Conversations | None = None,
        runs_code: bool = False,
    ) -> None:
        """`load` gives what is to be served next, told what is served now."""
        self.runs, self.upstream, self.lab = runs, upstream, lab
        self.most_waiting, self.most_tokens, self.starters = most_waiting, most_tokens, list(starters)
        self.metrics = Metrics()
        self.judging = Judging(feedback)
        self.runs_code = runs_code
        self.conversations = Conversations(None) if conversations is None else conversations
        self.runners: dict[str, Runner] = {}
        self._load, self._reloading = load, asyncio.Lock()
        self._added: dict[str, ServedModel] = {}
        self._take(models)

    def _take(self, models: Mapping[str, ServedModel]) -> None:
        """Serve these. Of those served before, what is the same model keeps its runner."""
        self.models = models
        self.runners = {name: self._runner(name, model) for name, model in models.items()}
        self.indexes = {model.index.corpus_digest: model.index for model in models.values() if model.index is not None}
        self.vocabularies = Vocabularies({name: model.engine.tokenizer for name, model in models.items()})

    def _runner(self, name: str, model: ServedModel) -> Runner:
        if name in self.runners and self.runners[name].engine is model.engine:
            return self.runners[name]
        engine = model.engine
        return Runner(engine, self.metrics.of(name, engine), most_waiting=self.most_waiting)

    async def add(self, models: Mapping[str, ServedModel]) -> None:
        """Serve these too, from now on whatever is reloaded."""
        self._added |= models
        await self.replace({**self.models, **models})

    async def replace(self, models: Mapping[str, ServedModel]) -> None:
        """Serve these from now on; what has begun with another model is finished by that one, which then goes."""
        before = list(self.runners.values())
        self._take(models)
        for runner in self.runners.values():
            if runner not in before:
                runner.start()
        for runner in before:
            if runner not in self.runners.values():
                await runner.empty()
                await run_in_threadpool(runner.stop)

    async def reload(self) -> list[str]:
        """Load what has changed and put it in the place of what is served. Returns the names of what is new.

        Raises:
            RopewalkError: there is something that cannot be loaded; all stays as it was.
        """
        async with self._reloading:
            models = {**await run_in_threadpool(self._load, self.models), **self._added}
            news = [name for name, model in models.items() if model is not self.models.get(name)]
            await self.replace(models)
        return news

    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        """Keep the engines' threads while the server runs."""
        for runner in self.runners.values():
            runner.start()
        try:
            yield
        finally:
            if self.lab is not None:
                await self.lab.close()
            for runner in self.runners.values():
                await run_in_threadpool(runner.stop)
            await run_in_threadpool(self.judging.close)

    async def chat(self, body: ChatBody, request: Request) -> Response:
        """POST /v1/chat/completions."""
        if elsewhere := self.elsewhere.get(body.model):
            return await elsewhere.upstream.chat(elsewhere, body, request, remember=self.judging.remember_answer)
        model = self._model(body)
        if body.offered() and not model.converses:
            raise Refusal(400, f"{model.id!r} was taught no conversations: leave the tools out.", param="tools")
        most = self._most_tokens(body.max_completion_tokens or body.max_tokens, model)
        messages = body.conversation()
        prompt = conversation_prompt(model.engine, messages, converses=model.converses, answer_tokens=most)
        top_logprobs = (body.top_logprobs or 0) if body.logprobs else 0
        samplings = _samplings(body, max_tokens=most, top_logprobs=top_logprobs)
        job = Job(
            model,
            chat=True,
            choices=[Choice(prompt.ids, sampling) for sampling in samplings],
            prompt_tokens=len(prompt.ids),
            logprobs=bool(body.logprobs),
            usage=body.wants_usage,
            notice=prompt.notice,
            tools=frozenset(tool.function.name for tool in body.offered()),
            messages=messages,
            remember=self.judging.remember,
        )
        return await self._answered(body, request, job)

    async def complete(self, body: CompletionBody, request: Request) -> Response:
        """POST /v1/completions."""
        if elsewhere := self.elsewhere.get(body.model):
            return await elsewhere.upstream.complete(elsewhere, body, request)
        model = self._model(body)
        echo, silent = bool(body.echo), body.max_tokens == 0
        if silent and not echo:
            raise Refusal(400, "max_tokens is 0: ask for 1 or more, or for the prompt with echo.", param="max_tokens")
        asked = None if body.max_tokens is None else max(body.max_tokens, 1)
        most = self._most_tokens(asked, model) if asked else min(COMPLETION_TOKENS, self._most_tokens(None, model))
        scored = echo and body.logprobs is not None
        samplings = _samplings(body, max_tokens=most, top_logprobs=body.logprobs or 0, prompt_logprobs=scored)
        choices, read = [], 0
        for prompt in body.prompt:
            text = isinstance(prompt, str)
            ids = document_prompt(model.engine, prompt) if text else prompt
            # The boundary before a text is ours: the client did not say it, so it is not told of it.
            said = ids[len(ids) - len(model.engine.tokenizer.encode(prompt)) :] if text else ids
            choices += [Choice(ids, sampling, said if echo else ()) for sampling in samplings]
            read += len(ids)
        job = Job(
            model,
            chat=False,
            choices=choices,
            prompt_tokens=read,
            logprobs=body.logprobs is not None,
            usage=body.wants_usage,
            silent=silent,
        )
        return await self._answered(body, request, job)

    async def tokenize(self, body: TokenizeBody) -> dict[str, Any]:
        """POST /tokenize."""
        return await run_in_threadpool(tokenized, self._named(body.model), body)

    async def detokenize(self, body: DetokenizeBody) -> dict[str, Any]:
        """POST /detokenize."""
        return await run_in_threadpool(detokenized, self._named(body.model), body)

    async def tokenizer_info(self, model: str | None = None) -> dict[str, Any]:
        """GET /tokenizer_info: of the model named, or the first."""
        return tokenizer_info(self._named(model))

    async def show_metrics(self) -> Response:
        """GET /metrics, for Prometheus."""
        return Response(self.metrics.text(), media_type=MEDIA_TYPE)

    async def list_models(self) -> dict[str, Any]:
        """GET /v1/models."""
        return {
            "object": "list",
            "data": [model.described() for model in (*self.models.values(), *self.elsewhere.values())],
        }

    async def one_model(self, name: str) -> dict[str, Any]:
        """GET /v1/models/{name}."""
        return self._anywhere(name).described()

    async def trace(self, body: TraceBody) -> dict[str, Any]:
        """POST /v1/trace."""
        model = self._anywhere(body.model)
        return await run_in_threadpool(trace_answer, model, body.text, body.about)

    async def tokens(self, body: TokensBody) -> dict[str, Any]:
        """POST /v1/tokens: a text as a vocabulary cuts it."""
        return await run_in_threadpool(self.vocabularies.cut, body.vocabulary, body.text)

    async def list_vocabularies(self) -> dict[str, Any]:
        """GET /v1/vocabularies: the models', and GPT-2's and GPT-4's if they are on this machine, with their sizes."""
        return {"data": await run_in_threadpool(self.vocabularies.described)}

    async def feedback(self) -> dict[str, Any]:
        """GET /v1/feedback: whether judgements are kept here, and reasons to offer."""
        return {"object": "feedback", "kept": self.judging.keeps, "reasons": REASONS}

    async def judge(self, body: JudgementBody) -> dict[str, Any]:
        """POST /v1/feedback: what somebody says of an answer."""
        return await self.judging.judge(body)

    async def retract(self, judgement: str) -> dict[str, Any]:
        """DELETE /v1/feedback/{judgement}: it counts no more."""
        return await self.judging.retract(judgement)

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
        for index in (*self.indexes.values(), *(model.index for model in self.elsewhere.values() if model.index)):
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

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where artifacts may lie that are behind no model here: in the making, or reports."""
        return (*self.runs, *(change.folder for change in (self.lab.changes if self.lab is not None else ())))

    @property
    def elsewhere(self) -> Mapping[str, UpstreamModel]:
        """The models of the server upstream."""
        return {} if self.upstream is None else self.upstream.models

    def _model(self, body: Body) -> ServedModel:
        body.refuse_unknown()
        return self._named(body.model)

    def index_of(self, name: str) -> Index | None:
        """The index of what a model read, one of ours or of the server upstream."""
        return self._anywhere(name).index

    def _anywhere(self, name: str) -> ServedModel | UpstreamModel:
        """The model of that name, one of ours or of the server upstream."""
        return self.elsewhere.get(name) or self._named(name)

    def _named(self, name: str | None) -> ServedModel:
        """The model of that name; without one, the first."""
        if name in self.elsewhere or (name is None and not self.models):
            raise Refusal(
                400, "Only chats, completions, their next tokens and tracing go to the server upstream.", param="model"
            )
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            there = ", ".join(map(repr, (*self.models, *self.elsewhere)))
            raise Refusal(
                404, f"There is no model {name!r} here: take one of {there}.", param="model", code="model_not_found"
            )
        return self.models[name]

    def _most_tokens(self, asked: int | None, model: ServedModel) -> int:
        """How many tokens a text may have."""
        most = self.most_tokens or model.engine.model.config.context_tokens
        if self.most_tokens and asked is not None and asked > most:
            raise Refusal(400, f"{asked:,} tokens are asked for, this server writes {most:,} at most.", param="max_tokens")
        return asked or most

    async def _answered(self, body: Body, request: Request, job: Job) -> Response:
        asked = [(choice.prompt, choice.sampling) for choice in job.choices]
        ticket = await self.runners[job.model.id].submit(asked)
        if body.stream:
            return EventStream(pieces(job, ticket), ticket)
        try:
            answer = await while_there(request, whole(job, ticket))
        finally:
            ticket.cancel()
        return Response(status_code=CLIENT_CLOSED_REQUEST) if answer is None else JSONResponse(answer)


def make_app(service: Service, *, hosts: frozenset[str] | None, keys: Keys | None) -> FastAPI:
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
    app.add_api_route("/v1/feedback", service.feedback, methods=["GET"])
    app.add_api_route("/v1/feedback", service.judge, methods=["POST"])
    app.add_api_route("/v1/feedback/{judgement}", service.retract, methods=["DELETE"])
    app.add_api_route("/tokenize", service.tokenize, methods=["POST"])
    app.add_api_route("/detokenize", service.detokenize, methods=["POST"])
    app.add_api_route("/tokenizer_info", service.tokenizer_info, methods=["GET"])
    app.add_api_route("/metrics", service.show_metrics, methods=["GET"], response_model=None)
    app.add_api_route("/starters", service.list_starters, methods=["GET"])
    app.add_api_route("/health", service.health, methods=["GET"], response_model=None)
    app.add_api_route("/pages/{page_id}", service.training_page, methods=["GET"], response_class=HTMLResponse)
    app.add_api_route("/", service.chat_page, methods=["GET"], response_class=HTMLResponse, include_in_schema=False)
    app.add_api_route("/tokens", service.tokens_page, methods=["GET"], response_class=HTMLResponse, include_in_schema=False)
    app.include_router(admin_routes(service.reload, service.judging))
    app.include_router(lab_routes(service.lab, service.add))
    app.include_router(look_routes(service, service._named))
    app.include_router(ChatRoutes(service.conversations, service._named).router())
    app.include_router(DoingRoutes(service.index_of, runs_code=service.runs_code).router())
    app.mount("/page", StaticFiles(directory=PAGE))
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(InputError, _mistake)
    app.add_exception_handler(MachineError, _lack)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _broken)
    app.add_middleware(Guard, hosts=hosts, keys=keys, metrics=service.metrics)
    return app


def _samplings(body: Body, *, max_tokens: int, top_logprobs: int, prompt_logprobs: bool = False) -> list[Sampling]:
    """One for each of `n`, at seeds that follow each other; without a seed, from anywhere."""
    seed = random.getrandbits(32) if body.seed is None else body.seed
    return [
        Sampling(
            max_tokens=max_tokens,
            temperature=1.0 if body.temperature is None else body.temperature,
            top_k=max(body.top_k or 0, 0),
            top_p=body.top_p or 1.0,
            min_p=body.min_p or 0.0,
            seed=seed + number,
            stop=body.stops(),
            top_logprobs=top_logprobs,
            repetition_penalty=body.repetition_penalty or 1.0,
            presence_penalty=body.presence_penalty or 0.0,
            frequency_penalty=body.frequency_penalty or 0.0,
            logit_bias=tuple((body.logit_bias or {}).items()),
            grammar=body.grammar(),
            prompt_logprobs=prompt_logprobs,
        )
        for number in range(body.n or 1)
    ]


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return fault(error.status, str(error), param=error.param, code=error.code)


async def _mistake(request: Request, error: Exception) -> Response:
    sentence = str(error)
    return fault(400, f"{sentence[0].upper()}{sentence[1:].removesuffix('.')}.")


async def _lack(request: Request, error: Exception) -> Response:
    return fault(501, f"This server cannot do that: {error}.")


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return fault(400, "The body is not JSON: send an object, as application/json.")
    if first["type"] in ("union_tag_not_found", "union_tag_invalid"):
        name = first["ctx"]["discriminator"].strip("'")
        return fault(400, f"{name} says what the body is: give 'thumb', 'choice' or 'edit'.", param=name)
    where = first["loc"][1:]  # after "body"
    if not where:
        return fault(400, "The body is not a JSON object: send one, as application/json.")
    # A client's own words may be among the names: they are left out.
    name = ".".join(part for part in where if isinstance(part, str) and part.isidentifier())
    reason = "is missing" if first["type"] == "missing" else f"is wrong: {_sentence(first['msg'])}"
    return fault(400, f"{name or where[0]} {reason}.", param=str(where[0]))


def _sentence(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[0].lower() + message[1:]


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reasons = {404: "There is nothing at this address.", 405: "This address does not take this method."}
    return fault(error.status_code, reasons.get(error.status_code, f"{error.detail}."))


async def _broken(request: Request, error: Exception) -> Response:
    """Our own bug. Its traceback goes to the terminal, not to the client."""
    return fault(500, "The server made a mistake: its terminal says which.")
