"""Tools: functions of the client's that a model may ask it to call, in OpenAI's words; `tokenizer.calls` has the model's."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from ropewalk.engine.grammar import SPACE, Grammar
from ropewalk.tokenizer.calls import CLOSE, OPEN, read_call, said_call
from ropewalk.tokenizer.chat import Message, with_told

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Function(BaseModel):
    """parameters: a JSON schema of the arguments, an object."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(BaseModel):
    """OpenAI's envelope of a function."""

    type: Literal["function"]
    function: Function


class NamedFunction(BaseModel):
    """A function by its name."""

    name: Name


class NamedTool(BaseModel):
    """The wish that this function is called."""

    type: Literal["function"]
    function: NamedFunction


ToolChoice = Literal["none", "auto", "required"] | NamedTool
Tools = Annotated[list[Tool], Field(max_length=128)]


def with_tools(messages: list[Message], tools: Sequence[Tool]) -> list[Message]:
    """The conversation with the tools told of in its system message."""
    return with_told(messages, [tool.model_dump(exclude_none=True)["function"] for tool in tools])


def forced_call(tools: Sequence[Tool]) -> Grammar:
    """The grammar of one call of one of the tools: each set of arguments has a schema of its own, for its own references."""
    rules = [f"start: {' | '.join(f'tool{number}' for number in range(len(tools)))}"]
    for number, tool in enumerate(tools):
        before, after = said_call(tool.function.name, "\0").split("\0")
        schema = {"type": "object", **(tool.function.parameters or {}), "x-guidance": {"whitespace_pattern": SPACE}}
        rules.append(f"tool{number}: {json.dumps(before)} arguments{number} {json.dumps(after)}")
        rules.append(f"arguments{number}: %json {json.dumps(schema)}")
    return Grammar("lark", "\n".join(rules))


class CallReader:
    """Take the calls out of an answer that comes in pieces, holding back what may be the beginning of one."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._held = ""
        self.count = 0

    def push(self, piece: str) -> tuple[str, list[dict[str, Any]]]:
        """Take the next piece. Returns the text to show now, and the calls that are complete with it."""
        self._held += piece
        shown, calls = "", []
        while (start := self._held.find(OPEN)) >= 0:
            shown, self._held = shown + self._held[:start], self._held[start:]
            end = self._held.find(CLOSE)
            if end < 0:
                return shown, calls
            whole, self._held = self._held[: end + len(CLOSE)], self._held[end + len(CLOSE) :]
            call = self._call(whole[len(OPEN) : end])
            shown, calls = (shown + whole, calls) if call is None else (shown, [*calls, call])
        kept = next((size for size in range(len(OPEN) - 1, 0, -1) if self._held.endswith(OPEN[:size])), 0)
        free = len(self._held) - kept
        shown, self._held = shown + self._held[:free], self._held[free:]
        return shown, calls

    def flush(self) -> tuple[str, list[dict[str, Any]]]:
        """The end: a call may lack its closing mark; what is none is text after all."""
        held, self._held = self._held, ""
        call = self._call(held.removeprefix(OPEN)) if held.startswith(OPEN) else None
        return (held, []) if call is None else ("", [call])

    def _call(self, text: str) -> dict[str, Any] | None:
        """OpenAI's form of a call; None for what is no call of a function that there is."""
        call = read_call(text)
        if call is None or call.name not in self._names:
            return None
        function = {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}
        self.count += 1
        return {"index": self.count - 1, "id": f"call_{uuid.uuid4().hex}", "type": "function", "function": function}
