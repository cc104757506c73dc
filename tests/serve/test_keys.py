"""Who may ask, what for and how often; and what a browser on somebody else's page, or a hostile client, is refused."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import stat
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from tests.cli.command import refusal, ropewalk
from tests.serve.asking import ask
from tests.serve.test_completions import small_model
from tests.serve.world import running

from ropewalk.posttrain.judged import read_pairs, read_thumbs
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.serve import AddKeyOptions, RemoveKeyOptions, guard
from ropewalk.serve.app import PAGE, Service
from ropewalk.serve.feedback import Store
from ropewalk.serve.keys import Key, Keys, Rates, add_key, read_keys, remove_key

FOR_ADMINS = ("/metrics", "/v1/admin/feedback/preferences")


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.jsonl"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    """A server with feedback, and an admin's key, a user's, and one that may ask three times a minute."""
    home = tmp_path_factory.mktemp("keyed")
    path = home / "keys.jsonl"
    admin = add_key(AddKeyOptions(keys=path, name="admin", role="admin", requests_per_minute=0))
    user = add_key(AddKeyOptions(keys=path, name="user", requests_per_minute=0))
    slow = add_key(AddKeyOptions(keys=path, name="slow", requests_per_minute=3))
    with closing(Store(home / "feedback.sqlite", create=True)) as store:
        service = Service({"small": small_model("small")}, most_waiting=4, starters=(), feedback=store)
        with running(service, keys=Keys(path)) as address:
            yield address, admin, user, slow


@pytest.fixture(scope="module")
def address(keyed):
    return keyed[0]


def raw(address, request, *, body=b""):
    """The status of a request that is sent as it is."""
    where = urlsplit(address)
    with socket.create_connection((where.hostname, where.port), timeout=30) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
        return int(connection.recv(64).split()[1])


def test_a_key_is_printed_once_and_the_file_holds_its_hash(path):
    made = ropewalk("keys", "add", "--keys", path, "--name", "anna", "--role", "admin", "--requests-per-minute", "5")
    key = made.stdout.strip()
    assert key.startswith("rw-") and len(key) > 40
    assert key not in path.read_text() + made.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = Keys(path).of(key)
    assert found is not None
    assert (found.name, found.role, found.requests_per_minute) == ("anna", "admin", 5)
    listed = ropewalk("keys", "list", "--keys", path).stdout
    assert listed.splitlines()[1].split()[:3] == ["anna", "admin", "5"]
    assert found.sha256 not in listed


def test_names_are_taken_once_until_they_are_removed(path):
    first = add_key(AddKeyOptions(keys=path, name="anna"))
    with pytest.raises(OptionError, match="has a key called 'anna'"):
        add_key(AddKeyOptions(keys=path, name="anna"))
    remove_key(RemoveKeyOptions(keys=path, name="anna"))
    second = add_key(AddKeyOptions(keys=path, name="anna"))
    assert first != second
    keys = Keys(path)
    assert keys.of(first) is None
    assert keys.of(second) == read_keys(path)["anna"]


def test_mistakes_with_the_file_are_one_sentence(path):
    assert "use up to 64 letters" in refusal(ropewalk("keys", "add", "--keys", path, "--name", "two words"))
    assert "make a key with" in refusal(ropewalk("keys", "list", "--keys", path))
    add_key(AddKeyOptions(keys=path, name="anna"))
    assert "it has anna" in refusal(ropewalk("keys", "remove", "--keys", path, "--name", "berta"))
    path.write_text(path.read_text() + '{"name": "eve", "role": "root"}\n')
    with pytest.raises(InputError, match=r"keys.jsonl, line 2: .*take the line out"):
        read_keys(path)


def test_a_file_that_is_broken_while_it_is_used_changes_nothing(path, capsys):
    key = add_key(AddKeyOptions(keys=path, name="anna"))
    keys = Keys(path)
    whole = path.read_text()
    path.write_text(whole + "{")
    assert keys.of(key) is not None
    assert "The keys stay as they were" in capsys.readouterr().err
    path.unlink()
    assert keys.of(key) is not None
    path.write_text("\n")
    assert keys.of(key) is None


def test_all_but_pages_and_health_ask_for_a_key(keyed):
    address, admin, user, _ = keyed
    for open_to_all in ("/", "/tokens", "/explore", "/funnel", "/lab", "/health", "/starters", "/page/chat.js"):
        assert ask(address, open_to_all)[0] == 200
    for path in ("/v1/models", "/tokenizer_info", "/openapi.json", "/v1/feedback", "/what/comes/next", *FOR_ADMINS):
        assert ask(address, path)[0] == 401, path
    for header in (f"Basic {user}", user, f"Bearer {user}x", "Bearer ", "Bearer", f"Bearer {user} {user}", "Bearer caf\xe9"):
        status, told = ask(address, "/v1/models", Authorization=header)
        assert (status, told["error"]["code"]) == (401, "invalid_api_key"), header
    for key in (admin, user):
        assert ask(address, "/v1/models", **bearer(key))[0] == 200
    assert ask(address, "/v1/models", Authorization=f"bearer {user}")[0] == 200


def test_a_hash_out_of_the_file_opens_nothing(keyed, path):
    key = add_key(AddKeyOptions(keys=path, name="anna"))
    keys = Keys(path)
    found = keys.of(key)
    assert found is not None and keys.of(found.sha256) is None


def test_what_is_for_admins_is_not_for_users(keyed):
    address, admin, user, _ = keyed
    for path in (*FOR_ADMINS, "/metrics/", "/v1/admin/what/comes/next"):
        status, told = ask(address, path, **bearer(user))
        assert (status, told["error"]["code"]) == (403, "not_an_admin"), path
    assert ask(address, "/v1/admin/reload", {}, **bearer(user))[0] == 403
    for path in FOR_ADMINS:
        assert ask(address, path, **bearer(admin))[0] == 200, path
    assert ask(address, "/v1/admin/reload", {}, **bearer(admin)) == (200, {"object": "reload", "reloaded": []})


def test_admins_take_what_people_said_as_the_trainers_read_it(keyed, tmp_path):
    address, admin, user, _ = keyed
    asked = {"model": "small", "messages": [{"role": "user", "content": "hemp?"}], "max_tokens": 5, "n": 2, "seed": 1}
    answer = ask(address, "/v1/chat/completions", asked, **bearer(user))[1]
    left, right = ({"id": answer["id"], "choice": number} for number in (0, 1))
    assert ask(address, "/v1/feedback", {"kind": "thumb", "answer": left, "good": False}, **bearer(user))[0] == 200
    told = {"kind": "edit", "answer": right, "text": "Hemp is brown."}
    assert ask(address, "/v1/feedback", told, **bearer(user))[0] == 200
    for name in ("preferences", "thumbs"):
        (tmp_path / f"{name}.jsonl").write_text(ask(address, f"/v1/admin/feedback/{name}", **bearer(admin))[1])
    (pair,) = read_pairs(tmp_path / "preferences.jsonl")
    assert pair.chosen[0]["content"] == "Hemp is brown."
    assert [thumb.good for thumb in read_thumbs(tmp_path / "thumbs.jsonl")] == [False]
    assert ask(address, "/v1/admin/feedback/answers", **bearer(admin))[0] == 400


def test_a_reload_that_fails_is_a_sentence_and_changes_nothing():
    def load(standing):
        raise InputError("runs/model is not a model")

    service = Service({"small": small_model("small")}, most_waiting=4, starters=(), load=load)
    with running(service) as address:
        status, told = ask(address, "/v1/admin/reload", {})
        assert (status, told["error"]["message"]) == (409, "Nothing is reloaded: runs/model is not a model.")
        assert ask(address, "/v1/completions", {"model": "small", "prompt": "x", "max_tokens": 1})[0] == 200


def test_a_reload_tells_what_is_new():
    fresh = {"small": small_model("small", seed=2)}
    service = Service({"small": small_model("small")}, most_waiting=4, starters=(), load=lambda standing: fresh)
    with running(service) as address:
        assert ask(address, "/v1/admin/reload", {})[1]["reloaded"] == ["small"]
        assert service.models == fresh
        assert ask(address, "/v1/admin/reload", {})[1]["reloaded"] == []


def test_a_model_that_was_made_meanwhile_outlives_a_reload():
    given = {"small": small_model("small")}
    service = Service(given, most_waiting=4, starters=(), load=lambda standing: given)

    async def reloaded():
        async with service.running(FastAPI()):
            await service.add({"made": small_model("made", seed=2)})
            runner = service.runners["made"]
            assert await service.reload() == []
            assert list(service.models) == ["small", "made"] and service.runners["made"] is runner and runner.works

    asyncio.run(reloaded())


def test_a_key_that_is_used_too_often_has_to_wait_and_others_do_not(keyed):
    address, _, user, slow = keyed
    assert [ask(address, "/v1/models", **bearer(slow))[0] for _ in range(3)] == [200, 200, 200]
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.request("GET", "/v1/models", headers=bearer(slow))
    with closing(connection), connection.getresponse() as response:
        told = json.loads(response.read())["error"]
        assert (response.status, told["type"], told["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
        assert 1 <= int(response.headers["Retry-After"]) <= 20
    assert ask(address, "/v1/models", **bearer(user))[0] == 200


def test_a_rate_is_a_minute_s_requests_that_come_back_steadily():
    now = [100.0]
    rates, key = Rates(lambda: now[0]), Key("anna", "user", 6, "0" * 64, "")
    assert [rates.wait_seconds(key) for _ in range(7)] == [0, 0, 0, 0, 0, 0, pytest.approx(10)]
    now[0] += 4
    assert rates.wait_seconds(key) == pytest.approx(6)
    now[0] += 6.001
    assert (rates.wait_seconds(key), rates.wait_seconds(key) > 9) == (0, True)
    now[0] += 3600
    assert sum(rates.wait_seconds(key) == 0 for _ in range(20)) == 6


def test_other_sites_pages_may_not_ask_with_a_key_or_without(keyed):
    address, _, user, _ = keyed
    own = urlsplit(address).netloc
    body = {"model": "small", "prompt": "x", "max_tokens": 1}
    for origin in ("https://evil.example", "null", "", f"http://{own}.evil.example", f"{own}", "http://127.0.0.1"):
        assert ask(address, "/v1/completions", body, Origin=origin, **bearer(user))[0] == 403, origin
    assert ask(address, "/v1/completions", body, Origin=address, **bearer(user))[0] == 200
    for host in (
        "evil.example",
        f"evil.example:{own.partition(':')[2]}",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
    ):
        assert ask(address, "/v1/models", Host=host, **bearer(user))[0] == 403, host
        assert ask(address, "/", Host=host)[0] == 403, host


def test_a_form_s_kind_of_body_is_none_of_ours(keyed):
    """What a page may send to another site without asking first is never JSON."""
    address, _, user, _ = keyed
    body = b'{"model": "small", "prompt": "x"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert ask(address, "/v1/completions", body, **{"Content-Type": kind}, **bearer(user))[0] == 400, kind


def test_every_response_tells_the_browser_what_it_may_do(keyed):
    address = keyed[0]
    for path in ("/", "/health", "/v1/models", "/nothing"):
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
        connection.request("GET", path)
        with closing(connection), connection.getresponse() as response:
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("page", sorted(PAGE.glob("*.html*")), ids=lambda page: page.name)
def test_pages_bring_no_script_or_style_that_the_policy_forbids(page):
    text = page.read_text(encoding="utf-8")
    assert all("src=" in tag.partition(">")[0] for tag in text.split("<script")[1:])
    assert "<style" not in text and " style=" not in text and "javascript:" not in text
    assert " on" not in "".join(part.partition(">")[0].partition('"')[0] for part in text.split("<")[1:])


def test_large_slow_and_dishonest_bodies_are_ended(keyed, monkeypatch):
    address, _, user, _ = keyed
    head = f"POST /v1/completions HTTP/1.1\nHost: 127.0.0.1\nAuthorization: Bearer {user}\nContent-Type: application/json"
    assert raw(address, f"{head}\nContent-Length: {guard.MOST_BODY_BYTES + 1}") == 413
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.2)
    assert raw(address, f"{head}\nContent-Length: 1000", body=b"{") == 408
    assert raw(address, f"{head}\nTransfer-Encoding: chunked", body=b"5\r\n{\r\n") == 408
    for length in ("-1", "1e3", "\xb2"):
        assert raw(address, f"{head}\nContent-Length: {length}") in (400, 413), length
    monkeypatch.undo()
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    assert raw(address, f"{head}\nTransfer-Encoding: chunked", body=chunk * 4) == 413
    assert ask(address, "/v1/models", **bearer(user))[0] == 200


@pytest.mark.parametrize("path", ["/page/../keys.py", "/page/%2e%2e/keys.py", "/page/..%2fkeys.py", "//page/..//v1/models"])
def test_addresses_that_climb_lead_nowhere(address, path):
    assert raw(address, f"GET {path} HTTP/1.1\nHost: 127.0.0.1\nConnection: close") in (401, 404)
    assert Path(PAGE.parent / "keys.py").is_file()
