"""The routes of conversations: kept, found again, renamed, deleted, exported; and what of one a model still reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from ropewalk.serve.bodies import MOST_MESSAGES, Text, conversation
from ropewalk.serve.chat_export import as_jsonl, as_markdown
from ropewalk.serve.conversation import conversation_prompt
from ropewalk.serve.conversations import Conversation, Conversations, FullError, Summary
from ropewalk.serve.faults import Refusal
from ropewalk.serve.models import ServedModel
from ropewalk.tokenizer.chat import render_prompt
from ropewalk.tokenizer.pattern import well_formed

MOST_LISTED = 1_000
MOST_DEPTH = 32  # of what a client puts beside a message

WellFormed = BeforeValidator(lambda value: well_formed(value) if isinstance(value, str) else value)
Words = Annotated[Text, WellFormed]
Thoughts = Annotated[str, StringConstraints(max_length=100_000), WellFormed]
Title = Annotated[str, StringConstraints(max_length=200), WellFormed]
MessageId = Annotated[str, StringConstraints(pattern="^msg-[0-9a-f]{32}$")]


def _plain(value: Any) -> Any:
    """JSON that any reader takes: no NaN, no half surrogate pairs, not nested without end."""
    level, depth = [value], 0
    while level := [inner for one in level if isinstance(one, dict | list) for inner in _values(one)]:
        depth += 1
        if depth > MOST_DEPTH:
            raise ValueError(f"it is nested more than {MOST_DEPTH} deep")
    return json.loads(well_formed(json.dumps(value, ensure_ascii=False, allow_nan=False)))


def _values(holder: dict[str, Any] | list[Any]) -> Collection[Any]:
    return holder.values() if isinstance(holder, dict) else holder


JsonObject = Annotated[dict[str, Any], AfterValidator(_plain)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewConversation(_Closed):
    """POST /v1/conversations. Without a title, the first message gives one."""

    title: Title = ""


class ChangedConversation(_Closed):
    """PATCH /v1/conversations/ID: another title, or the last message of the branch to show."""

    title: Annotated[Title, StringConstraints(min_length=1)] | None = None
    shown: MessageId | None = None


class SaidMessage(_Closed):
    """A turn in OpenAI's words."""

    role: Literal["user", "assistant", "tool"]
    content: Words | None = None
    reasoning_content: Thoughts | None = None
    tool_calls: Annotated[list[JsonObject], Field(max_length=128)] | None = None
    tool_call_id: Annotated[str, StringConstraints(max_length=64), WellFormed] | None = None


class NewMessage(_Closed):
    """POST /v1/conversations/ID/messages. about: whatever the client wants to find beside the message again."""

    parent: MessageId | None = None
    message: SaidMessage
    about: JsonObject = Field(default_factory=dict)


class ContextBody(_Closed):
    """POST /v1/context: a conversation, and how long its answer may become."""

    model: str
    messages: Annotated[list[Any], Field(min_length=1, max_length=MOST_MESSAGES)]
    max_tokens: Annotated[int, Field(ge=1)] = 1


class ChatRoutes:
    """The methods are the routes; FastAPI calls them in threads, so that nothing on the loop waits for the disk."""

    def __init__(self, kept: Conversations, named: Callable[[str], ServedModel]) -> None:
        self._kept, self._named = kept, named

    def router(self) -> APIRouter:
        """The methods under their addresses."""
        router = APIRouter()
        router.add_api_route("/v1/conversations", self.list_conversations, methods=["GET"])
        router.add_api_route("/v1/conversations", self.create, methods=["POST"])
        router.add_api_route("/v1/conversations/{name}", self.show, methods=["GET"])
        router.add_api_route("/v1/conversations/{name}", self.change, methods=["PATCH"])
        router.add_api_route("/v1/conversations/{name}", self.delete, methods=["DELETE"])
        router.add_api_route("/v1/conversations/{name}/messages", self.add, methods=["POST"])
        router.add_api_route("/v1/conversations/{name}/export", self.export, methods=["GET"], response_model=None)
        router.add_api_route("/v1/context", self.context, methods=["POST"])
        return router

    def list_conversations(
        self,
        request: Request,
        search: Annotated[str, Query(max_length=200)] = "",
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 200,
    ) -> dict[str, Any]:
        """GET /v1/conversations: the latest first. `kept`: in a file, so that they outlive the server."""
        found = self._kept.find(_owner(request), search=well_formed(search), limit=limit)
        return {"object": "list", "kept": self._kept.path is not None, "data": list(map(_described, found))}

    def create(self, body: NewConversation, request: Request) -> dict[str, Any]:
        """POST /v1/conversations."""
        try:
            return _described(self._kept.create(_owner(request), body.title))
        except FullError:
            raise Refusal(429, "There are too many conversations: delete some.") from None

    def show(self, name: str, request: Request) -> dict[str, Any]:
        """GET /v1/conversations/{name}: with the messages of all branches."""
        found = self._found(name, request)
        return _described(found.summary) | {"shown": found.shown, "messages": [asdict(one) for one in found.messages]}

    def change(self, name: str, body: ChangedConversation, request: Request) -> dict[str, Any]:
        """PATCH /v1/conversations/{name}."""
        if not self._kept.change(_owner(request), name, title=body.title, shown=body.shown):
            raise _gone()
        return _described(self._found(name, request).summary)

    def delete(self, name: str, request: Request) -> dict[str, Any]:
        """DELETE /v1/conversations/{name}: its words are overwritten."""
        if not self._kept.delete(_owner(request), name):
            raise _gone()
        return {"id": name, "object": "conversation", "deleted": True}

    def add(self, name: str, body: NewMessage, request: Request) -> dict[str, Any]:
        """POST /v1/conversations/{name}/messages: the branch that it ends is shown from now on."""
        message = body.message.model_dump(exclude_none=True)
        try:
            made = self._kept.add(_owner(request), name, parent=body.parent, message=message, about=body.about)
        except FullError:
            raise Refusal(429, "This conversation has too many messages: begin a new one.") from None
        if made is None:
            raise _gone()
        return {"id": made, "object": "conversation.message"}

    def export(self, name: str, request: Request, form: Literal["jsonl", "markdown"] = "jsonl") -> Response:
        """GET /v1/conversations/{name}/export: all branches in JSONL, or the one that is shown in Markdown."""
        found = self._found(name, request)
        text, kind, ending = (
            (as_markdown(found), "text/markdown", "md")
            if form == "markdown"
            else (as_jsonl(found), "application/jsonl", "jsonl")
        )
        return Response(
            text.encode(),
            media_type=f"{kind}; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="conversation.{ending}"'},
        )

    def context(self, body: ContextBody) -> dict[str, Any]:
        """POST /v1/context: how much of a conversation the model reads when it is asked to answer it."""
        model, messages = self._named(body.model), conversation(body.messages)
        prompt = conversation_prompt(model.engine, messages, converses=model.converses, answer_tokens=body.max_tokens)
        return {
            "context_tokens": model.engine.model.config.context_tokens,
            "tokens": len(render_prompt(model.engine.tokenizer, messages)) if model.converses else len(prompt.ids),
            "read_tokens": len(prompt.ids),
            "left_out": prompt.left_out if model.converses else len(messages) - 1,
        }

    def _found(self, name: str, request: Request) -> Conversation:
        found = self._kept.get(_owner(request), name)
        if found is None:
            raise _gone()
        return found


def _owner(request: Request) -> str:
    """Who asks: those who share a key share its conversations. The key itself is not written down."""
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    return hashlib.sha256(given.encode()).hexdigest() if given else ""


def _described(summary: Summary) -> dict[str, Any]:
    return {"object": "conversation", **asdict(summary)}


def _gone() -> Refusal:
    return Refusal(404, "There is no such conversation or message: it may have been deleted.")
