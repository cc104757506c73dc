"""Calls are text that is read back; OpenAI's way of writing them becomes part of what is said; results come as ids."""

from __future__ import annotations

import json

import pytest

from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.calls import Call, calls_in, read_call, said_call, told
from ropewalk.tokenizer.chat import check_messages

ADD = said_call("calculator", '{"expression": "1 + 2"}')


def test_calls_are_read_back():
    add, look = Call("calculator", {"expression": "1 + 2"}), Call("search", {"query": "Kenya"})
    assert calls_in(f"Let me see.\n{ADD}\n{said_call('search', json.dumps(look.arguments))}") == [add, look]
    assert calls_in(ADD.removesuffix("</tool_call>")) == [add]
    assert calls_in("none") == calls_in("<tool_call>\nnonsense\n</tool_call>") == []


@pytest.mark.parametrize("text", ["", "[]", '{"name": 1, "arguments": {}}', '{"name": "a", "arguments": "b"}', "[" * 10_000])
def test_what_is_no_call(text):
    assert read_call(text) is None


def test_openai_calls_become_part_of_what_is_said():
    call = {"id": "1", "type": "function", "function": {"name": "calculator", "arguments": '{"expression": "1 + 2"}'}}
    messages = [
        {"role": "user", "content": "1 + 2?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "name": "calculator", "content": "3"},
        {"role": "assistant", "content": "Well.", "tool_calls": [call]},
    ]
    checked = check_messages(messages, where="here")
    assert [one["content"] for one in checked] == ["1 + 2?", ADD, "3", f"Well.\n{ADD}"]
    call["function"]["arguments"] = {"expression": "1 + 2"}
    assert check_messages(messages, where="here") == checked
    call["function"]["arguments"] = "{"
    with pytest.raises(InputError, match="here, message 2: a tool call needs a function with a name"):
        check_messages(messages, where="here")


def test_tools_are_told_of_a_line_each():
    text = told([{"name": "a"}, {"name": "b", "description": "\n"}])
    assert '\n{"name": "a"}\n{"name": "b", "description": "\\n"}\n' in text
    assert calls_in(text) == []
