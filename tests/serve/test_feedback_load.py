"""Many people at once, and a server that is killed: what was acknowledged is there, once."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

from tests.engine.small import write_folder
from tests.serve.asking import ask, until
from tests.serve.test_completions import small_model
from tests.serve.test_feedback import user
from tests.serve.test_server import process_of
from tests.serve.world import running

from ropewalk.serve.app import Service
from ropewalk.serve.feedback import Store

PEOPLE, TURNS = 50, 3


def standing(path):
    """The judgements that stand, from a file that is whole."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    with closing(Store(path)) as store:
        answers, judgements = store.judged()
    assert {key for one in judgements for key in (one.answer, one.other) if key} == set(answers)
    return judgements


def test_fifty_people_chat_and_judge_at_once_and_no_row_is_lost(tmp_path):
    path = tmp_path / "feedback.sqlite"
    together = threading.Barrier(PEOPLE)

    def person(number):
        """Ask for two answers a turn, judge them in four ways, take one judgement back; the ids of those that stand."""
        together.wait()
        stand = []
        for turn in range(TURNS):
            body = {"model": "small", "messages": user(f"{number} {turn}?"), "max_tokens": 3, "n": 2, "seed": number}
            status, answer = ask(address, "/v1/chat/completions", body)
            assert status == 200, answer
            first, second = {"id": answer["id"], "choice": 0}, {"id": answer["id"], "choice": 1}
            for judgement in (
                {"kind": "choice", "left": first, "right": second, "preferred": "left"},
                {"kind": "thumb", "answer": first, "good": True, "reasons": ["clear"]},
                {"kind": "thumb", "answer": second, "good": False},
                {"kind": "edit", "answer": second, "text": f"{number} {turn}."},
            ):
                status, told = ask(address, "/v1/feedback", judgement)
                assert status == 200, told
                stand.append(told["id"])
            assert delete(address, stand.pop()) == 200
        return stand

    service_models = {"small": small_model("small", slots=8)}
    with closing(Store(path, create=True)) as store:
        service = Service(service_models, most_waiting=2 * PEOPLE, starters=(), feedback=store)
        with running(service) as address, ThreadPoolExecutor(PEOPLE) as people:
            acknowledged = [judgement for stand in people.map(person, range(PEOPLE)) for judgement in stand]
    assert len(acknowledged) == PEOPLE * TURNS * 3
    assert sorted(one.id for one in standing(path)) == sorted(acknowledged)


def delete(address, judgement):
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.request("DELETE", f"/v1/feedback/{judgement}")
    with closing(connection):
        return connection.getresponse().status


def test_a_server_killed_while_it_streams_and_writes_has_kept_all_it_acknowledged(tmp_path):
    path, folder = tmp_path / "feedback.sqlite", write_folder(tmp_path / "small", context_tokens=256)
    acknowledged: list[str] = []

    def person(number):
        """Stream answers and judge each, until the server is gone."""
        try:
            for turn in range(10_000):
                answer = streamed(number, turn)
                for judgement in ({"kind": "thumb", "good": True}, {"kind": "edit", "text": f"{number} {turn}."}):
                    status, told = ask(address, "/v1/feedback", {**judgement, "answer": {"id": answer}})
                    assert status == 200, told
                    acknowledged.append(told["id"])
        except (OSError, http.client.HTTPException):
            return

    def streamed(number, turn):
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
        body = {"model": "small", "messages": user(f"{number} {turn}?"), "max_tokens": 4, "stream": True}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        with closing(connection):
            events = connection.getresponse().read().decode().strip().split("\n\n")
        if events[-1] != "data: [DONE]":
            raise ConnectionError
        return json.loads(events[0].removeprefix("data: "))["id"]

    with process_of("--models", folder, "--feedback", path) as (process, address):
        people = [threading.Thread(target=person, args=(number,)) for number in range(8)]
        for one in people:
            one.start()
        until(lambda: len(acknowledged) >= 40, seconds=120)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for one in people:
            one.join()
    assert set(acknowledged) <= {one.id for one in standing(path)}
    with process_of("--models", folder, "--feedback", path) as (_, address):  # and it goes on from there
        known = standing(path)[0].answer
        body = {"kind": "thumb", "answer": {"id": known.id}, "good": False}
        status, told = ask(address, "/v1/feedback", body)
        assert status == 200
    assert told["id"] in {one.id for one in standing(path)}
