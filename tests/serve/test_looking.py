"""What the pages that look inside ask for: next tokens, lineage, the funnel, training as it goes on, reports."""

from __future__ import annotations

import json
import math
import shutil
import urllib.request

import pytest
import torch
from tests.serve.asking import ask
from tests.serve.world import served

from ropewalk.artifact import build, open_artifact
from ropewalk.engine.generate import document_prompt
from ropewalk.serve.guard import HEADERS
from ropewalk.serve.looking import PAGES


@pytest.fixture(scope="module")
def address(server):
    return server[0]


@pytest.fixture(scope="module")
def engine(server):
    return server[1].models["home/model"].engine


def next_of(address, **body):
    status, answer = ask(address, "/v1/next", {"model": "home/model", **body})
    assert status == 200, answer
    return answer


def test_next_tokens_are_the_model_s_own_distribution(address, engine):
    found = next_of(address, prompt="Hemp is", count=20)["tokens"]
    ids = document_prompt(engine, "Hemp is")
    with torch.inference_mode():
        logits_V = engine.model.logits(engine.model(torch.tensor([ids])))[0, -1].index_fill(0, engine.banned, -torch.inf)
    best = logits_V.log_softmax(0).topk(20)
    assert [token["id"] for token in found] == best.indices.tolist()
    assert [token["logprob"] for token in found] == pytest.approx(best.values.tolist(), abs=1e-4)
    assert [bytes.fromhex(token["bytes"]) for token in found] == [engine.tokenizer.token(token["id"]) for token in found]


def test_a_path_of_the_best_is_the_answer(address, engine):
    """Following the first branch from node to node spells what the model answers at temperature 0, up to its end."""
    asked = {"messages": [{"role": "user", "content": "What is hemp?"}]}
    path, ended = [], False
    while not ended:
        best = next_of(address, **asked, path=path, count=1)["tokens"][0]
        path, ended = [*path, best["id"]], best["ends"]
    assert next_of(address, **asked, path=path[:-1])["text"] == "Hemp is brown."
    assert math.exp(best["logprob"]) > 0.5


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "Give a prompt or messages"),
        ({"prompt": "x", "messages": [{"role": "user", "content": "x"}]}, "Give a prompt or messages"),
        ({"prompt": "x", "path": [99_999]}, "Token ids must be 0 to"),
        ({"prompt": "x", "count": 21}, "count is wrong"),
        ({"prompt": "x", "model": "none"}, "There is no model"),
    ],
)
def test_what_cannot_be_continued_is_one_sentence(address, body, sentence):
    status, answer = ask(address, "/v1/next", {"model": "home/model", **body})
    assert status in (400, 404)
    assert answer["error"]["message"].startswith(sentence)


def test_lineage_leads_from_the_model_to_the_web(address, world):
    artifacts = ask(address, "/v1/lineage?model=home/model")[1]["artifacts"]
    assert [artifact["name"] for artifact in artifacts[:2]] == ["home/model", "home/base"]
    by_digest = {artifact["digest"]: artifact for artifact in artifacts}
    assert artifacts[0]["digest"] == open_artifact(world.model).digest
    corpus = next(artifact for artifact in artifacts if artifact["kind"] == "corpus")
    (tokens,) = (artifact for artifact in artifacts if artifact["name"] == "home/tokens")
    assert corpus["digest"] in {entry["digest"] for entry in tokens["inputs"]}
    assert corpus["inputs"] == [{"name": "pages", "kind": "folder", "digest": None, "shown": "web"}]
    for artifact in artifacts:
        assert all(entry["digest"] in (None, *by_digest) for entry in artifact["inputs"])
    text = json.dumps(artifacts)
    assert str(world.model.parent.parent) not in text, "where folders lie is not told"


def test_what_was_made_elsewhere_has_no_lineage(address):
    assert ask(address, "/v1/lineage?model=stranger")[1]["artifacts"] == []
    found = ask(address, "/v1/funnel?model=stranger")[1]
    assert (found["available"], found["reason"]) == (False, "there is no corpus behind stranger, or it is gone")


def test_the_funnel_accounts_for_every_page(address, world):
    found = ask(address, "/v1/funnel?model=home/model")[1]
    stages = [stage["documents"] for stage in found["stages"]]
    assert stages == sorted(stages, reverse=True)
    assert stages[0] == 6
    assert stages[0] - stages[-1] == sum(found["dropped"].values())
    kept = [sample for sample in found["samples"] if sample["stage"] == "kept"]
    assert len(kept) == stages[-1]
    assert all("Ropes are laid from yarn" in sample["text"] for sample in kept)


def test_a_lineage_that_is_gone_is_told(world, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(world.model.parent, home)
    shutil.rmtree(home / "corpus")
    with served(home / "model", index=None) as (address, _):
        missing = ask(address, "/v1/lineage")[1]["missing"]
        assert any("corpus" in sentence for sentence in missing)
        assert ask(address, "/v1/funnel")[1]["available"] is False


def test_training_is_told_row_by_row_as_it_grows(world, tmp_path):
    folder = tmp_path / "run"
    logs = folder / "model.part" / "logs"
    logs.mkdir(parents=True)
    written = [{"step": step, "train/loss": 5.0 - step} for step in range(3)]
    with served(world.model, index=None, runs=(folder,)) as (address, _):
        names = [run["id"] for run in ask(address, "/v1/runs")[1]["data"]]
        assert names == ["home/model", "home/base"], "without metrics there is nothing to draw"
        with (logs / "metrics.jsonl").open("w") as file:
            file.write("".join(json.dumps(row) + "\n" for row in written) + '{"step": 3, "tra')
            file.flush()
            assert "run/model.part" in [run["id"] for run in ask(address, "/v1/runs")[1]["data"]]
            found = ask(address, "/v1/runs/run/model.part")[1]
            assert (found["rows"], found["next"], found["state"]) == (written, 3, "making")
            assert found["changed_seconds"] < 60
            file.write('in/loss": 2.0}\n')
        found = ask(address, "/v1/runs/run/model.part?after=3")[1]
        assert (found["rows"], found["next"]) == ([{"step": 3, "train/loss": 2.0}], 4)
        assert ask(address, "/v1/runs/run/model.part?after=4")[1]["rows"] == []
        logs.parent.rename(folder / "model")
        finished = ask(address, "/v1/runs/run/model.part?after=4")[1]
        assert (finished["id"], finished["state"], finished["rows"]) == ("run/model", "made", [])
        (folder / "model" / "logs" / "metrics.jsonl").write_text('{"step": 0}\n')
        assert ask(address, "/v1/runs/run/model?after=4")[1]["next"] == 1, "resumed at an earlier step"
        assert ask(address, "/v1/runs/..%2f..%2fetc")[0] == 404


def test_a_finished_model_s_curve_is_all_of_it(address, world):
    lines = (world.model / "logs" / "metrics.jsonl").read_text().splitlines()
    found = ask(address, "/v1/runs/home/model")[1]
    assert found["rows"] == [json.loads(line) for line in lines]
    assert found["state"] == "made"


def test_a_report_runs_nothing_and_only_our_page_frames_it(world, tmp_path):
    page = "<!doctype html><style>p { color: red }</style><p>A report</p><script>1</script>"

    def write(part):
        (part.folder / "index.html").write_text(page)
        return {}

    build(tmp_path / "run" / "report", kind="report", stage_version=1, options={}, inputs={}, libraries=(), make=write)
    with served(world.model, index=None, runs=(tmp_path / "run",)) as (address, _):
        (one,) = ask(address, "/v1/reports")[1]["data"]
        assert one["id"] == "run/report"
        with urllib.request.urlopen(address + one["href"]) as response:
            policy = response.headers["Content-Security-Policy"]
            assert response.read().decode() == page
            assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in policy
        assert "script-src" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'self'" in policy
        assert ask(address, "/reports/" + "0" * 64)[0] == 404


def test_the_pages_are_there_under_the_one_policy(address):
    for name, title in PAGES.items():
        with urllib.request.urlopen(f"{address}/{name}") as response:
            page = response.read().decode()
            assert response.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
        assert title in page
        assert "<script>" not in page
        assert f'src="/page/{name}.js"' in page
