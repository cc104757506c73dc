"""A server before another one: the same answers, watched, judged and followed; what goes wrong there told in a sentence."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import threading
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import openai
import pytest
from tests.engine.small import write_folder
from tests.serve.asking import ask, until
from tests.serve.test_completions import small_model
from tests.serve.world import LISTED, running, served

from ropewalk.engine.confidence import confidence
from ropewalk.runtime.errors import InputError, MachineError, OptionError
from ropewalk.serve import ServeOptions
from ropewalk.serve.app import Service
from ropewalk.serve.feedback import Store
from ropewalk.serve.server import listening, serve
from ropewalk.serve.upstream import Upstream, UpstreamModel, find_upstream
from ropewalk.trace.index import Index

ASKED = {
    "model": "small",
    "messages": [{"role": "user", "content": "Rope?"}],
    "max_tokens": 12,
    "temperature": 0.8,
    "seed": 3,
}


@pytest.fixture(scope="module")
def behind():
    """The server upstream, and its service to look into."""
    service = Service({"small": small_model("small")}, most_waiting=4, starters=())
    with running(service) as address:
        yield address, service


def before(address, **options):
    """A service before the server at `address`."""
    upstream = find_upstream(ServeOptions(upstream=f"{address}/v1", **options), None)
    return Service({}, most_waiting=4, starters=(), upstream=upstream)


@pytest.fixture(scope="module")
def address(behind):
    with running(before(behind[0])) as address:
        yield address


@pytest.fixture(scope="module")
def client(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_answers_are_those_of_the_server_upstream(behind, address):
    for _ in range(2):  # from the second time on the prompt's beginning is found, and all bits are the same
        theirs = ask(behind[0], "/v1/chat/completions", {**ASKED, "logprobs": True, "top_logprobs": 3})[1]
    status, ours = ask(address, "/v1/chat/completions", {**ASKED, "logprobs": True, "top_logprobs": 3})
    assert status == 200
    assert ours["id"] != theirs["id"]
    for mine, one in zip(ours["choices"], theirs["choices"], strict=True):
        assert [mine[name] for name in ("message", "logprobs")] == [one[name] for name in ("message", "logprobs")]
        entries = mine["logprobs"]["content"]
        assert mine["confidence"] == round(confidence([entry["logprob"] for entry in entries]), 4)
        assert mine["low_confidence"] is True
    assert ours["usage"] == theirs["usage"]
    quiet = ask(address, "/v1/chat/completions", ASKED)[1]["choices"][0]
    assert quiet["logprobs"] is None, "asked for by us alone"
    assert quiet["confidence"] == ours["choices"][0]["confidence"]
    assert quiet["message"] == ours["choices"][0]["message"]


def test_a_stream_comes_piece_by_piece(client, address):
    whole = ask(address, "/v1/chat/completions", ASKED)[1]["choices"][0]
    chunks = list(
        client.chat.completions.create(**ASKED, stream=True, logprobs=True, stream_options={"include_usage": True})
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole["message"]["content"]
    assert len(chunks) > 10
    assert len({chunk.id for chunk in chunks}) == 1
    last = next(chunk.choices[0] for chunk in reversed(chunks) if chunk.choices)
    assert (last.finish_reason, last.confidence) == ("length", whole["confidence"])
    assert chunks[-1].usage.completion_tokens == 12


def test_plain_completions_pass(behind, address):
    asked = {"model": "small", "prompt": ["ab", "cd"], "max_tokens": 5, "seed": 1, "logprobs": 2}
    theirs, ours = (ask(where, "/v1/completions", asked)[1] for where in (behind[0], address))
    assert ours["choices"] == theirs["choices"]


def test_models_are_listed_and_what_only_ours_can_do_is_refused(address, behind):
    (model,) = ask(address, "/v1/models")[1]["data"]
    assert (model["id"], model["upstream"], model["parameters"]) == ("small", f"{behind[0]}/v1", None)
    assert model["context_tokens"] == 512
    assert ask(address, "/v1/models/small")[1] == model
    assert "not known here" in ask(address, "/v1/trace", {"model": "small", "text": "Rope"})[1]["reason"]
    status, answer = ask(address, "/tokenize", {"model": "small", "prompt": "x"})
    assert status == 400
    assert "server upstream" in answer["error"]["message"]
    status, answer = ask(address, "/v1/chat/completions", {**ASKED, "model": "other"})
    assert (status, answer["error"]["code"]) == (404, "model_not_found")
    assert "take one of 'small'" in answer["error"]["message"]


@pytest.mark.parametrize("given", [{"prompt": "Rope"}, {"messages": ASKED["messages"]}])
def test_one_level_of_next_tokens_is_what_the_server_upstream_tells(behind, address, given):
    asked = {"model": "small", "count": 5, **given}
    theirs, ours = (ask(where, "/v1/next", asked)[1]["tokens"] for where in (behind[0], address))
    if "prompt" in given:  # completions name tokens by their text: of bytes that show alike, there is the best alone
        texts = [one["text"] for one in theirs]
        theirs = [one for place, one in enumerate(theirs) if one["text"] not in texts[:place]]
    assert [one["text"] for one in ours] == [one["text"] for one in theirs]
    assert [one["logprob"] for one in ours] == pytest.approx([one["logprob"] for one in theirs], abs=1e-5)
    assert {one["id"] for one in ours} == {None}
    status, refused = ask(address, "/v1/next", {**asked, "path": [97]})
    assert (status, refused["error"]["param"]) == (400, "path")
    assert ask(address, "/v1/next", {"model": "small"})[0] == 400


@pytest.mark.parametrize(
    ("choice", "status", "said"),
    [
        ({"text": "x"}, 409, "tells no probabilities of what 'small' may say next"),
        ({"text": "x", "logprobs": {"content": None}}, 409, "tells no probabilities"),
        ({"text": "x", "logprobs": {"top_logprobs": [{"a": "b"}]}}, 502, "does not answer as OpenAI's API does"),
        (
            {"text": "x", "logprobs": {"content": [{"top_logprobs": [{"token": "a", "logprob": 0, "bytes": 9}]}]}},
            502,
            "OpenAI's",
        ),
        ({"text": "x", "logprobs": 3}, 502, "does not answer as OpenAI's API does"),
    ],
)
def test_a_server_that_tells_no_next_tokens_is_told_of(choice, status, said):
    with stand_in(raw("200 OK", json.dumps({"choices": [choice]}))) as there, running(before(there)) as address:
        found, told = ask(address, "/v1/next", {"model": "small", "prompt": "x"})
    assert found == status
    assert said in told["error"]["message"]


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"suffix": "x"}, 400, "suffix is not supported here"),
        ({"messages": [{"role": "user", "content": "x" * 2_000}]}, 400, "shorten it"),
        ({"temperature": 9}, 400, "temperature is wrong"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_it_refuses_is_refused_with_its_words(address, change, status, said, stream):
    found, answer = ask(address, "/v1/chat/completions", {**ASKED, **change, "stream": stream})
    assert found == status
    assert said in answer["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_its_slot_upstream(behind, address, stream):
    runner = behind[1].runners["small"]
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    asked = {**ASKED, "max_tokens": 480, "stream": stream, "logit_bias": {"97": 100}}
    connection.request("POST", "/v1/chat/completions", json.dumps(asked), {"Content-Type": "application/json"})
    until(lambda: runner.in_flight == 1)
    connection.sock.close()
    until(lambda: runner.in_flight == 0)
    aborted = ask(behind[0], "/metrics")[1]
    assert 'reason="abort"' in aborted


@contextmanager
def stand_in(answer):
    """A server that lists one model, and to all else sends these bytes and nothing more. Gives its address."""
    with listening("127.0.0.1", 0) as listener:

        def work():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                held.append(connection)
                asked = connection.recv(100_000)
                body = b'{"data": [{"id": "small"}]}'
                listed = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
                connection.sendall(listed if asked.startswith(b"GET") else answer)
                if closes:
                    connection.close()

        held: list[socket.socket] = []
        closes = b"HTTP" in answer
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


def raw(status, body, kind="application/json"):
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (b"", 504, "has said nothing for 1 seconds"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", 502, "broke off"),
        (raw("200 OK", "<html>"), 502, "does not answer as OpenAI's API does"),
        (raw("200 OK", '{"choices": [3]}'), 502, "does not answer as OpenAI's API does"),
        (raw("500 Oh", '{"error": {"message": "out of\\nmemory"}}'), 502, "The server upstream failed: out of memory"),
        (raw("401 No", "{}"), 502, "wants another key: set OPENAI_API_KEY"),
        (raw("429 Slow", '{"message": "Too many."}'), 429, "Too many."),
        (raw("302 There\r\nLocation: http://127.0.0.1:1/", ""), 502, "failed: status 302"),
    ],
)
def test_what_goes_wrong_upstream_is_one_sentence(answer, status, said):
    with stand_in(answer) as there, running(before(there, upstream_seconds=1)) as address:
        found, told = ask(address, "/v1/chat/completions", ASKED)
    assert found == status
    assert said in told["error"]["message"]


def test_a_stream_that_breaks_off_ends_with_what_happened():
    chunk = {"choices": [{"index": 0, "delta": {"content": "Ro"}, "finish_reason": None}]}
    body = f"data: {json.dumps(chunk)}\n\n"
    with stand_in(raw("200 OK", body, "text/event-stream")) as there, running(before(there)) as address:
        events = ask(address, "/v1/chat/completions", {**ASKED, "stream": True})[1].strip().split("\n\n")
    first, last = (json.loads(event.removeprefix("data: ")) for event in events)
    assert first["choices"][0]["delta"]["content"] == "Ro"
    assert "broke off in the middle" in last["error"]["message"]


def test_a_server_that_has_gone_is_told():
    with stand_in(b"") as there:
        service = before(there)
    with running(service) as address:
        status, told = ask(address, "/v1/chat/completions", ASKED)
    assert status == 502
    assert "cannot be reached" in told["error"]["message"]


def test_judgements_of_its_answers_are_kept(behind, tmp_path):
    file = tmp_path / "feedback.sqlite"
    with closing(Store(file, create=True)) as store:
        upstream = find_upstream(ServeOptions(upstream=f"{behind[0]}/v1"), None)
        service = Service({}, most_waiting=4, starters=(), upstream=upstream, feedback=store)
        with running(service) as address:
            made = ask(address, "/v1/chat/completions", ASKED)[1]
            judged = {"kind": "thumb", "answer": {"id": made["id"]}, "good": True}
            assert ask(address, "/v1/feedback", judged)[0] == 200
        (answer,) = store.judged()[0].values()
    assert answer.text == made["choices"][0]["message"]["content"]
    assert list(answer.messages) == ASKED["messages"]
    assert (answer.model, answer.model_digest, answer.token_ids) == ("small", "unknown", [])
    assert len(answer.logprobs) == 12
    assert answer.sampling == {"temperature": 0.8, "max_tokens": 12, "seed": 3}
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM answers").fetchone() == (1,)


def test_answers_of_a_model_whose_folder_is_told_are_followed(world):
    with served(world.model, index=None) as (there, _), Index.open(world.index) as index:
        options = ServeOptions(upstream=f"{there}/v1", upstream_folders={"home/model": world.model})
        upstream = find_upstream(options, index)
        assert upstream.models["home/model"].third_party is False
        with running(Service({}, most_waiting=4, starters=(), upstream=upstream)) as address:
            found = ask(address, "/v1/trace", {"model": "home/model", "text": LISTED})[1]
            (span,) = found["spans"]
            page = span["pages"][0]["href"].partition("?")[0]
            assert LISTED in ask(address, page)[1]


def test_what_cannot_be_a_server_upstream_is_refused(behind, tmp_path):
    with pytest.raises(OptionError, match="wants an address"):
        serve(ServeOptions(upstream="localhost:8000"))
    with pytest.raises(OptionError, match="goes with --upstream"):
        serve(ServeOptions(models=(tmp_path,), upstream_folders={"x": tmp_path}))
    with pytest.raises(OptionError, match="has no model 'large'; it has small"):
        find_upstream(ServeOptions(upstream=f"{behind[0]}/v1", upstream_folders={"large": tmp_path}), None)
    with pytest.raises(InputError, match="status 404: check --upstream"):
        find_upstream(ServeOptions(upstream=behind[0]), None)
    with pytest.raises(MachineError, match="cannot be reached"):
        find_upstream(ServeOptions(upstream="http://127.0.0.1:9/v1"), None)


def test_a_name_that_stands_for_two_models_is_refused(behind, tmp_path):
    folder = write_folder(tmp_path / "small", context_tokens=128)
    with pytest.raises(OptionError, match="two models are called 'small', here and at"):
        serve(ServeOptions(models=(folder,), upstream=f"{behind[0]}/v1", port=0))


def test_a_password_in_its_address_is_not_shown():
    upstream = Upstream("http://me:secret@127.0.0.1:8001/v1/", silence_seconds=1)
    assert upstream.shown == "http://127.0.0.1:8001/v1"
    model = UpstreamModel("x", upstream, 0, None, True, "unknown", None, "")
    assert "secret" not in json.dumps(model.described())
