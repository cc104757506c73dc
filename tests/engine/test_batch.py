"""A file of prompts is answered whole, wherever it was interrupted, here or by a server, to the same answers."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.engine.small import write_folder
from tests.serve.world import running

from ropewalk.engine import GenerateOptions, remote, run_generate
from ropewalk.runtime.errors import InputError, MachineError, OptionError
from ropewalk.serve.app import Service
from ropewalk.serve.models import load_models

ROWS = [
    {"id": "a", "prompt": "rope"},
    {"id": "b", "messages": [{"role": "user", "content": "What is tar?"}]},
    {"id": "c", "prompt": "x" * 200},
    {"id": "d", "prompt": [{"role": "user", "content": "hemp"}]},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("batch") / "small", context_tokens=96)


@pytest.fixture
def options(folder, tmp_path):
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return GenerateOptions(
        folder, from_=tmp_path / "prompts.jsonl", out=tmp_path / "answers.jsonl", max_tokens=12, samples=2, slots=3
    )


def answers(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_row_is_answered_in_order(options):
    run_generate(options)
    made = answers(options.out)
    assert [(row["id"], row["sample"]) for row in made] == [(one, sample) for one in "abcd" for sample in range(2)]
    assert made[2]["messages"] == ROWS[1]["messages"]
    for row in made:
        if row["id"] == "c":
            assert (row["finish"], row["answer"]) == ("error", "")
            assert "shorten it" in row["error"]
        else:
            assert row["error"] is None
            assert 1 <= row["answer_tokens"] <= 12
    assert made[0]["answer"] != made[1]["answer"]
    assert not options.out.with_name("answers.jsonl.part").exists()
    with pytest.raises(OptionError, match="is there already"):
        run_generate(options)


def test_a_run_that_was_cut_off_carries_on_to_the_same_answers(options, tmp_path):
    whole = replace(options, out=tmp_path / "whole.jsonl")
    run_generate(whole)
    in_the_way = tmp_path / "answers.jsonl.draft"
    in_the_way.mkdir()  # so that all are made and cannot be put together
    with pytest.raises(IsADirectoryError):
        run_generate(options)
    in_the_way.rmdir()
    part = tmp_path / "answers.jsonl.part"
    lines = part.read_text().splitlines(keepends=True)
    assert len(lines) == 1 + 8
    part.write_text("".join(lines[:4]) + '{"row": 3, "sam')  # torn by a kill
    with pytest.raises(OptionError, match="begun with another --temperature"):
        run_generate(replace(options, temperature=0.1))
    run_generate(replace(options, slots=1))  # how many at once decides nothing
    assert answers(options.out) == answers(whole.out)


def test_parquet_in_and_out(options, tmp_path):
    run_generate(options)
    with pytest.raises(OptionError, match=r"do not make a table .* \.jsonl"):  # a prompt is a text here, a list there
        run_generate(replace(options, out=tmp_path / "mixed.parquet"))
    (tmp_path / "both.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[:2]))
    run_generate(replace(options, from_=tmp_path / "both.jsonl", out=tmp_path / "both.parquet", samples=1))
    both = pq.read_table(tmp_path / "both.parquet").to_pylist()
    assert [(row["prompt"], row["messages"]) for row in both] == [("rope", None), (None, ROWS[1]["messages"])]
    pq.write_table(pa.Table.from_pylist([ROWS[0]] * 3), tmp_path / "prompts.parquet")
    run_generate(replace(options, from_=tmp_path / "prompts.parquet", out=tmp_path / "new" / "answers.parquet"))
    made = pq.read_table(tmp_path / "new" / "answers.parquet").to_pylist()
    assert [row["id"] for row in made] == ["a"] * 6
    assert [row["answer"] for row in made[:2]] == [row["answer"] for row in answers(options.out)[:2]]
    assert len({row["answer"] for row in made}) > 1  # each row has draws of its own


def test_a_server_gives_the_answers_that_the_engine_gives(options, folder, tmp_path):
    run_generate(options)
    service = Service(load_models([folder], None, slots=2), most_waiting=20, starters=())
    with running(service) as address:
        there = replace(options, model=type(folder)("small"), address=f"{address}/v1", out=tmp_path / "there.jsonl")
        run_generate(there)
        with pytest.raises(InputError, match="check the address and the model's name"):
            run_generate(replace(there, model=type(folder)("nobody"), out=tmp_path / "nobody.jsonl"))
    kept = ("id", "sample", "answer", "finish", "answer_tokens")
    here, there = ([{key: row[key] for key in kept} for row in answers(one.out)] for one in (options, there))
    assert there == here


class Busy(BaseHTTPRequestHandler):
    """A server that is busy twice, and then answers."""

    asked = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Busy.asked += 1
        made = {"choices": [{"text": "yes", "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}
        body = json.dumps(made if Busy.asked > 2 else {"error": {"message": "busy"}}).encode()
        self.send_response(200 if Busy.asked > 2 else 429)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def test_a_busy_server_is_asked_again_and_one_that_is_gone_is_one_sentence(options, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "FIRST_BACKOFF_SECONDS", 0.001)
    (tmp_path / "one.jsonl").write_text('{"prompt": "x"}\n')
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked = replace(
            options,
            from_=tmp_path / "one.jsonl",
            address=f"http://127.0.0.1:{server.server_port}/v1",
            samples=1,
            out=tmp_path / "busy.jsonl",
        )
        run_generate(asked)
        server.shutdown()
    assert answers(tmp_path / "busy.jsonl")[0]["answer"] == "yes"
    assert Busy.asked == 3
    with pytest.raises(MachineError, match=r"does not answer .* carries on"):
        run_generate(replace(asked, out=tmp_path / "gone.jsonl"))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("", "has no rows"),
        ('{"text": "x"}\n', 'row 1 has no "prompt" and no "messages"'),
        ('{"prompt": "x", "answer": "y"}\n', "has a column 'answer'"),
        ('{"prompt": [{"role": "king", "content": "x"}]}\n', "role is 'king'"),
        ("{\n", "line 1 is not JSON"),
    ],
)
def test_a_wrong_file_is_one_sentence(options, lines, says):
    options.from_.write_text(lines)
    with pytest.raises(InputError, match=says):
        run_generate(options)


def test_options_that_do_not_go_together_are_refused(options):
    for wrong in ({"out": None}, {"prompt": "x"}, {"from_": None}):
        with pytest.raises(OptionError, match=r"--out|--prompt"):
            run_generate(replace(options, **wrong))
