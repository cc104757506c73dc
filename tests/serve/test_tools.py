"""Tools reach the model, and its calls reach the client, whole and in pieces."""

from __future__ import annotations

import json
import random
import re

import pytest
from tests.serve.asking import ask
from tests.serve.test_completions import small_model

from ropewalk.serve.app import Service
from ropewalk.serve.tools import CallReader
from ropewalk.tokenizer.chat import render_prompt

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"$ref": "#/$defs/city"}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
            "required": ["city", "days"],
            "additionalProperties": False,
            "$defs": {"city": {"enum": ["Nairobi", "Vienna"]}},
        },
    },
}
NO_SPACE = {str(ord(space)): -100 for space in " \t\n\r"}


def named(name):
    return {"type": "function", "function": {"name": name}}


@pytest.fixture(scope="module")
def service() -> Service:
    return Service({"small": small_model("small", context_tokens=2048)}, most_waiting=8, starters=())


@pytest.mark.parametrize("choice", ["required", named("weather")])
def test_a_call_that_must_be_made_is_made_by_its_schema(client, choice):
    asked = {
        "model": "small",
        "messages": [{"role": "user", "content": "Will it rain?"}],
        "tools": [WEATHER] if choice == "required" else [named("clock"), WEATHER],
        "tool_choice": choice,
        "max_tokens": 400,
        "seed": 3,
        "logit_bias": NO_SPACE,
    }
    whole = client.chat.completions.create(**asked).choices[0]
    assert whole.finish_reason == "tool_calls"
    assert whole.message.content is None
    (call,) = whole.message.tool_calls
    arguments = json.loads(call.function.arguments)
    assert call.function.name == "weather"
    assert arguments["city"] in ("Nairobi", "Vienna")
    assert 1 <= arguments["days"] <= 9
    pieces = [chunk.choices[0] for chunk in client.chat.completions.create(**asked, stream=True)]
    (delta,) = [call for piece in pieces for call in piece.delta.tool_calls or []]
    assert (delta.index, delta.function.arguments) == (0, call.function.arguments)
    assert not any(piece.delta.content for piece in pieces)
    assert pieces[-1].finish_reason == "tool_calls"


def test_what_the_model_reads(address, service):
    """The system message tells of the tools; a call and its result are in the conversation as they were said."""
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Vienna"}'}}
    messages = [
        {"role": "user", "content": "Will it rain?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "It will."},
    ]
    body = {"model": "small", "messages": messages, "max_tokens": 1}
    status, made = ask(address, "/v1/chat/completions", body)
    assert status == 200
    said = '<tool_call>\n{"name": "weather", "arguments": {"city": "Vienna"}}\n</tool_call>'
    plain = [messages[0], {"role": "assistant", "content": said}, {"role": "tool", "content": "It will."}]
    tokenizer = service.models["small"].engine.tokenizer
    assert made["usage"]["prompt_tokens"] == len(render_prompt(tokenizer, plain))
    told = ask(address, "/v1/chat/completions", body | {"tools": [WEATHER]})[1]["usage"]["prompt_tokens"]
    assert told > made["usage"]["prompt_tokens"] + len(json.dumps(WEATHER["function"]))
    none = ask(address, "/v1/chat/completions", body | {"tools": [WEATHER], "tool_choice": "none"})[1]
    assert none["usage"] == made["usage"]


def test_calls_are_found_however_the_answer_is_cut():
    calls = [{"name": "a", "arguments": {"x": "é</"}}, {"name": "b", "arguments": {}}]
    first, second = (f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls)
    broken, foreign = "<tool_call>{not json}</tool_call>", '<tool_call>{"name": "c", "arguments": {}}</tool_call>'
    text = f"Well <tool, {first} and {broken}{foreign}<<tool_call{second} < <tool_"
    expected = f"Well <tool,  and {broken}{foreign}<<tool_call < <tool_"
    rng = random.Random(0)
    for _ in range(300):
        reader, shown, found, place = CallReader({"a", "b"}), "", [], 0
        while place < len(text):
            size = rng.randint(1, 30)
            piece, new = reader.push(text[place : place + size])
            shown, found, place = shown + piece, found + new, place + size
        piece, new = reader.flush()
        assert shown + piece == expected
        names = [call["function"]["name"] for call in found + new]
        assert names == ["a", "b"]
        assert json.loads(found[0]["function"]["arguments"]) == calls[0]["arguments"]
        assert [call["index"] for call in found] == [0, 1]


def test_a_call_without_its_closing_mark_counts_at_the_end():
    reader = CallReader({"a"})
    assert reader.push('<tool_call>{"name": "a", "arguments": {}}') == ("", [])
    assert reader.flush()[1][0]["function"] == {"name": "a", "arguments": "{}"}


@pytest.mark.parametrize(
    ("change", "param", "says"),
    [
        ({"tool_choice": "required"}, "tool_choice", "not among tools"),
        (
            {"tools": [named("clock")], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
            "tool_choice",
            "not among",
        ),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools", "pattern"),
        (
            {"tools": [WEATHER], "tool_choice": "required", "response_format": {"type": "json_object"}},
            "structured_outputs",
            "one form",
        ),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]}, "messages", "a tool call needs"),
        ({"messages": [{"role": "assistant", "tool_calls": 3, "content": "x"}]}, "messages", "must be a list"),
        ({"messages": [{"role": "assistant", "tool_calls": [], "content": 3}]}, "messages", ""),
    ],
)
def test_wrong_wishes_are_one_sentence(address, change, param, says):
    body = {"model": "small", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1, **change}
    status, answer = ask(address, "/v1/chat/completions", body)
    assert (status, answer["error"]["param"]) == (400, param)
    assert says in answer["error"]["message"]


def test_thoughts_are_told_apart_from_the_answer(client):
    form = {"structured_outputs": {"regex": r"<think>\n[a-c]{3}\n</think>\n\n[d-f]{2}"}}
    asked = {"model": "small", "messages": [{"role": "user", "content": "?"}], "seed": 1, "extra_body": form}
    whole = client.chat.completions.create(**asked).choices[0].message
    assert re.fullmatch("[a-c]{3}", whole.reasoning_content) and re.fullmatch("[d-f]{2}", whole.content)
    deltas = [chunk.choices[0].delta for chunk in client.chat.completions.create(**asked, stream=True)]
    assert "".join(delta.content or "" for delta in deltas) == whole.content
    thoughts = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert thoughts.strip() == whole.reasoning_content


def test_thoughts_of_earlier_answers_are_not_read(address):
    again = {"role": "user", "content": "Sure?"}
    answer = {"role": "assistant", "content": "Rain."}
    messages = [{"role": "user", "content": "Will it rain?"}, answer, again]
    body = {"model": "small", "messages": messages, "max_tokens": 1}
    plain = ask(address, "/v1/chat/completions", body)[1]["usage"]
    messages[1] = {**answer, "reasoning_content": "There are clouds."}
    assert ask(address, "/v1/chat/completions", body)[1]["usage"] == plain
