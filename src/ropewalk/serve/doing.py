"""What an answer may have done, and a person lets happen: programs in the sandbox, and calls of tools.

Nothing here runs by itself: the page shows what would be run, and asks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, StringConstraints

from ropewalk.engine.tools import Tool, result_of, search_tool, tools_of
from ropewalk.sandbox import Limits, run_code
from ropewalk.serve.bodies import Text
from ropewalk.serve.faults import Refusal
from ropewalk.serve.markdown import formatted
from ropewalk.tokenizer.calls import Call
from ropewalk.trace.index import Index

MOST_AT_ONCE = 2  # programs, of all clients together
MOST_WAIT_SECONDS = 20.0
PROGRAM = Limits(seconds=10.0, output_bytes=100_000)


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProgramBody(_Closed):
    """POST /v1/run: a Python program, and what it reads."""

    code: Text
    stdin: Text = ""


class CallBody(_Closed):
    """POST /v1/tools: a call that a model asks for. model: whose pages are searched."""

    model: str
    name: Annotated[str, StringConstraints(max_length=64)]
    arguments: dict[str, Any]


class MarkdownBody(_Closed):
    """POST /v1/markdown."""

    text: Text


class DoingRoutes:
    """The methods are the routes; FastAPI calls them in threads of its own."""

    def __init__(self, index_of: Callable[[str], Index | None], *, runs_code: bool) -> None:
        """`index_of` gives the index behind a model, here or at another server, if there is one."""
        self._index_of, self._runs_code = index_of, runs_code
        self._free = threading.BoundedSemaphore(MOST_AT_ONCE)

    def router(self) -> APIRouter:
        """The methods under their addresses."""
        router = APIRouter()
        router.add_api_route("/v1/run", self.run, methods=["POST"])
        router.add_api_route("/v1/tools", self.tools, methods=["GET"])
        router.add_api_route("/v1/tools", self.call, methods=["POST"])
        router.add_api_route("/v1/markdown", self.markdown, methods=["POST"])
        return router

    def run(self, body: ProgramBody) -> dict[str, Any]:
        """POST /v1/run: how a program ended in the sandbox, and what it printed."""
        if not self._runs_code:
            raise Refusal(403, "This server runs no programs: start it with --run-code.", code="no_programs")
        with self._turn():
            return {"object": "run", **asdict(run_code(body.code, stdin=body.stdin, limits=PROGRAM))}

    def tools(self, model: Annotated[str, Query()]) -> dict[str, Any]:
        """GET /v1/tools: those that may be called for a model, in OpenAI's words; whether programs are run here."""
        tools = [{"type": "function", "function": tool.described} for tool in self._tools(model).values()]
        return {"object": "list", "runs_code": self._runs_code, "data": tools}

    def call(self, body: CallBody) -> dict[str, Any]:
        """POST /v1/tools: what a tool gives back, or what is wrong with the call, for the model to read."""
        tools = self._tools(body.model)
        with self._turn():
            return {"object": "tool.result", "output": result_of(Call(body.name, body.arguments), tools)}

    def markdown(self, body: MarkdownBody) -> dict[str, Any]:
        """POST /v1/markdown: a text as a tree of elements, or why it stays as it is."""
        return {"object": "markdown", **asdict(formatted(body.text))}

    def _tools(self, name: str) -> dict[str, Tool]:
        index = self._index_of(name)
        tools = tools_of(["calculator", "python"] if self._runs_code else ["calculator"])
        return {tool.name: tool for tool in [*tools, *([search_tool(index)] if index else [])]}

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._free.acquire(timeout=MOST_WAIT_SECONDS):
            raise Refusal(429, "Other programs are running: try again soon.")
        try:
            yield
        finally:
            self._free.release()
