"""Calls of tools as text, in the words that Hermes' and Qwen's models were taught; they work with any chat template.

A system message tells of the tools, each a line of JSON. The assistant asks in its turn,

    <tool_call>
    {"name": "calculator", "arguments": {"expression": "47 * 38"}}
    </tool_call>

and the next turn, a tool's, holds what came of it. Marks are no special tokens: only what an assistant says is looked
through for calls, so nothing that a user or a page says becomes one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ropewalk.runtime.errors import InputError

OPEN, CLOSE = "<tool_call>", "</tool_call>"


@dataclass(frozen=True)
class Call:
    """A tool's name, and what it is called with."""

    name: str
    arguments: dict[str, Any]


def said_call(name: str, arguments: str) -> str:
    """A call as an assistant says it. `arguments` are JSON."""
    return f'{OPEN}\n{{"name": {json.dumps(name)}, "arguments": {arguments}}}\n{CLOSE}'


def read_call(text: str) -> Call | None:
    """What stands between the marks; None for what is no call."""
    try:
        call = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(call, dict) and isinstance(call.get("name"), str) and isinstance(call.get("arguments"), dict):
        return Call(call["name"], call["arguments"])
    return None


def calls_in(text: str) -> list[Call]:
    """The calls in what an assistant has said, in their order; the last may lack its closing mark."""
    pieces = [piece.partition(CLOSE)[0] for piece in text.split(OPEN)[1:]]
    return [call for call in map(read_call, pieces) if call is not None]


def told(tools: Sequence[Mapping[str, Any]]) -> str:
    """What a system message says of tools, each with a name, a description and the JSON schema of its parameters."""
    lines = [json.dumps(tool, ensure_ascii=False) for tool in tools]
    return (
        "These functions can be called, each described by a line of JSON:\n<tools>\n" + "\n".join(lines) + "\n</tools>\n"
        f"To call one, write {OPEN}, then a JSON object with its name and arguments, then {CLOSE}, as in\n"
        f'{OPEN}\n{{"name": "...", "arguments": {{...}}}}\n{CLOSE}'
    )


def content_with_calls(message: Mapping[str, Any], *, where: str) -> str:
    """What an assistant's message with OpenAI's `tool_calls` says in full.

    Raises:
        InputError: a call without a function's name, or arguments that are no JSON; `where` begins the sentence.
    """
    said = []
    for call in message["tool_calls"]:
        try:
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            arguments = json.dumps(arguments, ensure_ascii=False) if isinstance(arguments, dict) else arguments
            json.loads(arguments)
        except (TypeError, KeyError, ValueError, RecursionError):
            raise InputError(f"{where}: a tool call needs a function with a name, and arguments in JSON") from None
        said.append(said_call(str(name), arguments))
    return "\n".join([*filter(None, [message.get("content")]), *said])
