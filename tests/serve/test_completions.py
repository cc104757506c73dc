"""The API's plain parts on a small model that was taught nothing: its tokens are bytes, so all can be computed beside it."""

from __future__ import annotations

import http.client
import json
import random
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch
from tests.engine.small import new_engine, new_model, new_tokenizer
from tests.serve.asking import ask, until
from tests.serve.world import running

from ropewalk.engine.engine import Engine
from ropewalk.engine.generate import document_prompt
from ropewalk.serve.app import Service
from ropewalk.serve.models import NO_INDEX, ServedModel
from ropewalk.tokenizer.chat import render_prompt

CONTEXT_TOKENS = 512
SCHEMA = {
    "type": "object",
    "properties": {"tar": {"enum": ["black", "brown"]}, "old": {"type": "boolean"}},
    "required": ["tar", "old"],
    "additionalProperties": False,
}


def small_model(name: str, *, slots: int = 4, seed: int = 1, context_tokens: int = CONTEXT_TOKENS) -> ServedModel:
    tokenizer = new_tokenizer()
    engine = new_engine(new_model(tokenizer, context_tokens=context_tokens, seed=seed), tokenizer, slots)
    return ServedModel(
        id=name, third_party=True, converses=True, parameters=1, folder=Path("nowhere"), digest=str(seed), created=0,
        engine=engine, index=None, untraceable=NO_INDEX,
    )  # fmt: skip


@pytest.fixture(scope="module")
def service() -> Service:
    models = {"small": small_model("small"), "other": small_model("other", seed=2)}
    return Service(models, most_waiting=12, most_tokens=300, starters=())


@pytest.fixture(scope="module")
def engine(service) -> Engine:
    return service.models["small"].engine


def plain_logprobs(engine, ids):
    """Of each of `ids` but the first, by one forward pass."""
    with torch.inference_mode():
        logits_TV = engine.model.logits(engine.model(torch.tensor([ids])))[0].index_fill(1, engine.banned, -torch.inf)
    return logits_TV.log_softmax(-1)[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()


def test_texts_and_ids_are_continued_alike_alone_and_in_lists(client, engine):
    text = "Rope"
    ids = document_prompt(engine, text)
    asked = {"model": "small", "max_tokens": 7, "temperature": 0.9, "seed": 4}
    alone = client.completions.create(prompt=text, **asked)
    for prompt in (ids, [text], [ids]):
        again = client.completions.create(prompt=prompt, **asked)
        assert (again.choices, again.usage) == (alone.choices, alone.usage)
    several = client.completions.create(prompt=[text, "tar", text], n=2, **asked)
    assert [choice.index for choice in several.choices] == list(range(6))
    texts = [choice.text for choice in several.choices]
    assert texts[0] == texts[4] == alone.choices[0].text
    assert texts[1] == texts[5]
    assert len(set(texts)) == 4
    assert several.usage.prompt_tokens == 2 * len(ids) + len(document_prompt(engine, "tar"))
    assert several.usage.completion_tokens == 42


def test_an_echo_scores_the_prompt_as_a_forward_pass_does(client, engine):
    ids = list(b"tar and hemp")
    asked = {"model": "small", "prompt": ids, "max_tokens": 1, "temperature": 0, "logprobs": 2, "echo": True}
    choice = client.completions.create(**asked).choices[0]
    told = choice.logprobs
    assert choice.text.startswith("tar and hemp")
    assert told.tokens[:-1] == [chr(one) for one in ids]
    assert told.token_logprobs[0] is None
    assert told.top_logprobs[0] is None
    assert told.token_logprobs[1:-1] == pytest.approx(plain_logprobs(engine, ids), abs=1e-4)
    assert told.text_offset[: len(ids)] == list(range(len(ids)))
    for name, logprob, best in zip(told.tokens[1:], told.token_logprobs[1:], told.top_logprobs[1:], strict=True):
        assert 1 <= len(best) <= 3  # two, and the token that stands there
        assert "\ufffd" in (name, *best) or best[name] == logprob
    chunks = list(client.completions.create(**asked, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == choice.text
    assert [one for chunk in chunks for one in chunk.choices[0].logprobs.token_logprobs] == told.token_logprobs
    assert [one for chunk in chunks for one in chunk.choices[0].logprobs.text_offset] == told.text_offset


def test_an_echo_alone_makes_nothing(client, engine):
    asked = {"model": "small", "prompt": "h\u00e9mp", "max_tokens": 0, "echo": True, "logprobs": 0}
    made = client.completions.create(**asked)
    assert made.choices[0].text == "h\u00e9mp"
    assert made.choices[0].finish_reason == "length"
    assert made.usage.completion_tokens == 0
    # The boundary before a text is the server's: the first of the text's own tokens is scored after it.
    expected = plain_logprobs(engine, document_prompt(engine, "h\u00e9mp"))
    assert made.choices[0].logprobs.token_logprobs == pytest.approx(expected, abs=1e-4)
    chunks = list(client.completions.create(**asked, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "h\u00e9mp"
    assert chunks[-1].choices[0].finish_reason == "length"
    without = client.completions.create(model="small", prompt="h\u00e9mp", max_tokens=0, echo=True)
    assert (without.choices[0].text, without.choices[0].logprobs) == ("h\u00e9mp", None)


def test_a_token_that_ends_a_text_is_listed(client, engine):
    always = {str(stop): 100 for stop in engine.stop_ids}
    made = client.completions.create(model="small", prompt="x", logprobs=1, logit_bias=always)
    assert made.choices[0].finish_reason == "stop"
    assert made.choices[0].text == ""
    assert len(made.choices[0].logprobs.tokens) == made.usage.completion_tokens == 1


def test_what_does_not_say_how_long_is_as_long_as_may_be():
    service = Service({"small": small_model("small")}, most_waiting=1, most_tokens=4, starters=())
    never = {str(stop): -100 for stop in service.models["small"].engine.stop_ids}
    with running(service) as address:
        for path, asked in (
            ("/v1/completions", {"prompt": "x"}),
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
        ):
            status, made = ask(address, path, {"model": "small", "logit_bias": never, **asked})
            assert (status, made["usage"]["completion_tokens"]) == (200, 4)


def test_penalties_and_biases_reach_the_sampler(client):
    asked = {"model": "small", "messages": [{"role": "user", "content": "x"}], "temperature": 0, "max_tokens": 30}
    plain, biased = (
        client.chat.completions.create(**asked, **more).choices[0].message.content
        for more in ({}, {"logit_bias": {"97": 100}})
    )
    assert biased == "a" * 30
    assert plain != biased
    penalised = client.chat.completions.create(
        **asked, logit_bias={"97": 8, "98": 7.5}, frequency_penalty=2, presence_penalty=1, logprobs=True
    )
    assert len(set(penalised.choices[0].message.content)) > 1
    own = {"repetition_penalty": 1.2, "min_p": 0.9, "top_k": 5}
    client.chat.completions.create(**asked, extra_body=own)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_has_the_form_that_is_asked_for(client, stream):
    asked = {
        "model": "small",
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": 200,
        "seed": 1,
        "stream": stream,
    }
    asked["logit_bias"] = {str(ord(space)): -100 for space in " \t\n\r"}

    def said(**wish):
        made = client.chat.completions.create(**asked, **wish)
        if not stream:
            return made.choices[0].message.content, made.choices[0].finish_reason
        choices = [chunk.choices[0] for chunk in made]
        return "".join(choice.delta.content or "" for choice in choices), choices[-1].finish_reason

    form = {"type": "json_schema", "json_schema": {"name": "tar", "schema": SCHEMA, "strict": True}}
    text, finish = said(response_format=form)
    assert (set(json.loads(text)), finish) == ({"tar", "old"}, "stop")
    text, finish = said(extra_body={"structured_outputs": {"regex": "[a-f]{4}-[0-9]{2}"}})
    assert re.fullmatch("[a-f]{4}-[0-9]{2}", text)
    assert finish == "stop"
    text, _ = said(extra_body={"structured_outputs": {"choice": ["(yes)", "no."]}})
    assert text in ("(yes)", "no.")
    text, _ = said(response_format={"type": "json_object"})
    assert text.lstrip().startswith("{")


def test_texts_are_tokenized_as_the_model_reads_them(address, engine):
    status, found = ask(address, "/tokenize", {"prompt": "h\u00e9", "return_token_strs": True})
    assert status == 200
    assert found["tokens"] == document_prompt(engine, "h\u00e9")
    assert (found["count"], found["max_model_len"]) == (4, CONTEXT_TOKENS)
    assert found["token_strs"] == ["<|endoftext|>", "h", "\ufffd", "\ufffd"]
    bare = ask(address, "/tokenize", {"model": "small", "prompt": "h\u00e9", "add_special_tokens": False})[1]
    assert bare["tokens"] == list("h\u00e9".encode())
    assert bare["token_strs"] is None
    messages = [{"role": "user", "content": "tar"}]
    chat = ask(address, "/tokenize", {"messages": messages})[1]
    assert chat["tokens"] == render_prompt(engine.tokenizer, messages)
    assert ask(address, "/detokenize", {"tokens": bare["tokens"]})[1] == {"prompt": "h\u00e9"}
    info = ask(address, "/tokenizer_info?model=small")[1]
    assert info["eos_token"] in engine.tokenizer.special
    assert "im_start" in info["chat_template"]
    assert ask(address, "/tokenize", {"prompt": "x", "messages": messages})[0] == 400
    assert ask(address, "/tokenize", {})[0] == 400
    assert ask(address, "/detokenize", {"tokens": [10**6]})[0] == 400
    assert ask(address, "/tokenizer_info?model=nobody")[0] == 404


WRONG = [
    ({"prompt": [1, "x"]}, "prompt", "give a text"),
    ({"prompt": []}, None, "0 tokens"),
    ({"prompt": [[1], []]}, None, "0 tokens"),
    ({"prompt": ["x"] * 129}, "prompt", "1 to 128 prompts"),
    ({"prompt": [10**6]}, None, "must be 0 to 261"),
    ({"prompt": [-1]}, "prompt", "give a text"),
    ({"prompt": "x" * 32_001}, "prompt", "shorten it"),
    ({"prompt": "x" * CONTEXT_TOKENS}, None, "shorten it"),
    ({"prompt": ["x"] * 17}, None, "ask for fewer"),
    ({"n": 10_000}, "n", "less than or equal to 16"),
    ({"temperature": -0.1}, "temperature", "greater than or equal to 0"),
    ({"max_tokens": 0}, "max_tokens", "with echo"),
    ({"max_tokens": 301}, "max_tokens", "300 at most"),
    ({"min_p": 2}, "min_p", "less than or equal to 1"),
    ({"repetition_penalty": 5e-324}, "repetition_penalty", "greater than or equal to 0.01"),
    ({"presence_penalty": 3}, "presence_penalty", "less than or equal to 2"),
    ({"logit_bias": {"x": 1}}, "logit_bias", "integer"),
    ({"logit_bias": {"1": 101}}, "logit_bias", "less than or equal to 100"),
    ({"logit_bias": {"1000000": 1}}, None, "must be 0 to 261"),
    ({"response_format": {"type": "xml"}}, "response_format", "json_schema"),
    ({"response_format": {"type": "json_schema"}}, "response_format", "give one"),
    ({"structured_outputs": {"regex": "((("}}, None, "unclosed group"),
    ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs", "one form"),
    ({"structured_outputs": {"grammar": "x"}}, "structured_outputs", "not permitted"),
    ({"suffix": "x"}, "suffix", "not supported"),
]


@pytest.mark.parametrize(("change", "param", "says"), WRONG)
def test_a_wrong_request_is_one_sentence_and_the_server_goes_on(address, change, param, says):
    status, answer = ask(address, "/v1/completions", {"model": "small", "prompt": "x", "max_tokens": 1, **change})
    assert status == 400
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert says in answer["error"]["message"]
    assert "\n" not in answer["error"]["message"]
    assert param is None or answer["error"]["param"] == param
    assert ask(address, "/v1/completions", {"model": "small", "prompt": "x", "max_tokens": 1})[0] == 200


def test_a_stream_never_splits_a_character(address):
    """A model that is made to say characters of three bytes, one token a byte."""
    body = {"model": "small", "prompt": "x", "max_tokens": 90, "stream": True, "temperature": 0}
    body["structured_outputs"] = {"regex": "[\u4f60\u597d\u20ac]{30}"}
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    events = connection.getresponse().read().decode().strip().split("\n\n")
    connection.close()
    assert events.pop() == "data: [DONE]"
    texts = [json.loads(event.removeprefix("data: "))["choices"][0]["text"] for event in events]
    assert set(texts) <= {"", "\u4f60", "\u597d", "\u20ac"}
    assert len("".join(texts)) == 30


def test_what_happened_is_counted(address, service):
    def sample(name, **labels):
        return service.metrics.registry.get_sample_value(f"ropewalk_{name}", labels) or 0.0

    names = ("prompt_tokens_total", "generation_tokens_total", "request_seconds_count", "time_to_first_token_seconds_count")
    before = [sample(name, model="other") for name in names]
    for _ in range(3):
        body = {"model": "other", "prompt": [1, 2, 3, 4], "max_tokens": 5, "logit_bias": {"97": 100}}
        assert ask(address, "/v1/completions", body)[0] == 200
    after = [sample(name, model="other") for name in names]
    assert [now - then for now, then in zip(after, before, strict=True)] == [12, 15, 3, 3]
    assert sample("requests_finished_total", model="other", reason="length") >= 3
    assert sample("http_responses_total", path="/v1/completions", status="200") >= 3
    assert sample("requests_running", model="other") == 0
    status, text = ask(address, "/metrics")
    assert status == 200
    assert 'ropewalk_generation_tokens_total{model="other"}' in text


def test_2_000_requests_with_random_ends_leave_nothing_behind():
    """Clients that stay, that go before, in and after the answer; then every slot is free and the server answers."""
    service = Service({"small": small_model("small", slots=8)}, most_waiting=64, starters=())
    rng = random.Random(0)
    with running(service) as address:
        engine, runner = service.models["small"].engine, service.runners["small"]
        for _ in range(50):
            held = []
            for _ in range(40):
                body = {"model": "small", "prompt": "x", "max_tokens": rng.randint(1, 12), "stream": rng.random() < 0.7}
                connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
                connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
                held.append(connection)
                if rng.random() < 0.5:
                    held.pop(rng.randrange(len(held))).close()
            for connection in held:
                if rng.random() < 0.5:
                    assert connection.getresponse().read(rng.randint(1, 400))
                connection.close()
        until(lambda: runner.in_flight == 0, seconds=60)
        until(lambda: engine.idle)
        assert (engine.running, engine.waiting) == (0, 0)
        assert ask(address, "/v1/completions", {"model": "small", "prompt": "x", "max_tokens": 2})[0] == 200


def test_a_model_is_replaced_without_dropping_a_stream():
    service = Service({"small": small_model("small", slots=1)}, most_waiting=4, starters=())
    body = {"model": "small", "prompt": "x", "temperature": 0}
    with running(service) as address:
        runner = service.runners["small"]
        expected = ask(address, "/v1/completions", body | {"max_tokens": 400})[1]["choices"][0]["text"]
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
        streaming = json.dumps(body | {"max_tokens": 400, "stream": True})
        connection.request("POST", "/v1/completions", streaming, {"Content-Type": "application/json"})
        until(lambda: runner.engine.running == 1)
        replaced = runner._loop.create_task
        fresh = {"small": small_model("small", slots=1, seed=2)}
        runner._loop.call_soon_threadsafe(lambda: replaced(service.replace(fresh)))
        until(lambda: service.models is fresh)
        new = ask(address, "/v1/completions", body | {"max_tokens": 5})[1]["choices"][0]["text"]
        events = connection.getresponse().read().decode().strip().split("\n\n")
        connection.close()
        assert events.pop() == "data: [DONE]"
        texts = [json.loads(event.removeprefix("data: "))["choices"][0]["text"] for event in events]
        assert "".join(texts) == expected
        assert not expected.startswith(new)
        until(lambda: not runner._thread.is_alive())
        assert service.runners["small"].works


def test_time_is_not_wasted_on_an_answer_nobody_waits_for(address, service):
    """A client that goes away frees its slot by the next step."""
    engine = service.models["small"].engine
    body = {"model": "small", "prompt": "x", "max_tokens": 300, "stream": True, "logit_bias": {"97": 100}}
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    until(lambda: engine.running == 1)
    started = time.monotonic()
    connection.close()
    until(lambda: engine.idle, seconds=1.0)
    assert time.monotonic() - started < 1.0
