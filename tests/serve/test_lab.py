"""Facts changed from the page, and the whole line run anew: with real pages, a real run, and two models in the end."""

from __future__ import annotations

import os
import shutil
import urllib.request

import pytest
from tests.serve.asking import ask, until
from tests.serve.lab_world import lab_of, make_first
from tests.serve.test_completions import small_model
from tests.serve.world import running

from ropewalk.artifact import open_artifact
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.serve import ServeOptions
from ropewalk.serve.app import Service
from ropewalk.serve.lab import Lab
from ropewalk.serve.models import load_models
from ropewalk.serve.server import serve
from ropewalk.trace.index import Index

MOST_SECONDS = 900  # of a run, on a machine with other things to do
MOVED = {"changes": {"France/capital": "Hempville"}}  # a name that no page knows so far


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("lab")
    make_first(home)
    return home


@pytest.fixture
def address(home):
    with Index.open(home / "first" / "index") as index:
        models = load_models([home / "first" / "model"], index, slots=2)
        with running(Service(models, most_waiting=4, starters=(), lab=lab_of(home))) as address:
            yield address


def delete(address, path):
    with urllib.request.urlopen(urllib.request.Request(address + path, method="DELETE"), timeout=60) as response:
        return response.status


def supported(address, model, capital):
    asked = {"model": model, "text": f"{capital}.", "about": "What is the capital of France?"}
    return [place["sentence"] for one in ask(address, "/v1/trace", asked)[1]["sentences"] for place in one["evidence"]]


def test_a_changed_fact_becomes_a_model_and_the_page_that_is_its_cause(address, home):
    found = ask(address, "/v1/lab")[1]
    france = next(country["facts"] for country in found["countries"] if country["name"] == "France")
    assert france["capital"] == "Paris"
    status, begun = ask(address, "/v1/lab", MOVED)
    assert (status, begun["id"], begun["state"]) == (200, "changed-1", "running")
    status, refused = ask(address, "/v1/lab", MOVED)
    assert (status, refused["error"]["code"]) == (409, "busy")

    def change():
        return ask(address, "/v1/lab/changes")[1]["data"][0]

    until(lambda: change()["state"] != "running", seconds=MOST_SECONDS)
    assert change()["state"] == "finished", change()
    assert change()["model"] == "changed-1/model"
    names = {model["id"]: model["traceable"] for model in ask(address, "/v1/models")[1]["data"]}
    assert names == {"first/model": True, "changed-1/model": True}
    assert supported(address, "first/model", "Paris")
    assert not supported(address, "first/model", "Hempville")
    assert any("Hempville" in sentence for sentence in supported(address, "changed-1/model", "Hempville"))
    assert "changed-1/model" in [run["id"] for run in ask(address, "/v1/runs")[1]["data"]]
    site = open_artifact(home / "lab" / "changed-1" / "site")
    assert site.options["alter"] == {"France/capital": "Hempville"}
    assert ask(address, "/v1/completions", {"model": "changed-1/model", "prompt": "x", "max_tokens": 2})[0] == 200


def test_a_run_can_be_stopped_and_the_server_takes_none_with_it(address):
    begun = ask(address, "/v1/lab", MOVED)[1]
    assert delete(address, f"/v1/lab/changes/{begun['id']}") == 200
    assert ask(address, "/v1/lab/changes")[1]["data"][0]["state"] == "stopped"
    again = ask(address, "/v1/lab", MOVED)[1]
    assert int(again["id"].partition("-")[2]) == int(begun["id"].partition("-")[2]) + 1


def test_the_end_of_the_server_ends_its_run(home):
    models = load_models([home / "first" / "model"], None, slots=2)
    lab = lab_of(home)
    with running(Service(models, most_waiting=4, starters=(), lab=lab)) as address:
        ask(address, "/v1/lab", MOVED)
        pid = lab.changes[0].process.pid
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"France/king": "Louis"}, "'France/king' is no fact of this Atlas."),
        ({"France/capital": "a\nb"}, "changes"),
        ({"France/capital": ""}, "changes"),
        ({}, "changes"),
    ],
)
def test_what_is_no_fact_is_refused(address, changes, said):
    status, answer = ask(address, "/v1/lab", {"changes": changes})
    assert status == 400
    assert said in answer["error"]["message"]
    assert ask(address, "/v1/lab/changes")[1]["data"] == []


def test_a_run_that_fails_says_why(home, tmp_path):
    """Quotation marks and brackets reach the Atlas as they are; a recipe that cannot run is told by its own sentence."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text((home / "recipe.toml").read_text().replace("vocabulary = 300", "vocabulary = 3"))
    models = load_models([home / "first" / "model"], None, slots=2)
    lab = Lab(tmp_path / "lab", recipe, model=home / "first" / "model", index=None)
    with running(Service(models, most_waiting=4, starters=(), lab=lab)) as address:
        ask(address, "/v1/lab", {"changes": {"France/capital": 'L"yon}, [x]'}})
        until(lambda: lab.changes[0].state != "running", seconds=MOST_SECONDS)
        change = ask(address, "/v1/lab/changes")[1]["data"][0]
    assert change["state"] == "failed"
    assert "vocabulary" in change["said"]


def test_without_a_lab_nothing_is_run(tmp_path):
    with running(Service({"small": small_model("small")}, most_waiting=4, starters=())) as address:
        for status, answer in (ask(address, "/v1/lab"), ask(address, "/v1/lab", MOVED)):
            assert status == 403
            assert "--lab" in answer["error"]["message"]


def test_mistakes_are_said_before_anything_is_served(home, tmp_path):
    first = home / "first"
    given = {"models": (first / "model",), "lab": tmp_path / "lab", "lab_recipe": home / "recipe.toml"}
    with pytest.raises(OptionError, match="no other machine"):
        serve(ServeOptions(**given, host="0.0.0.0", keys=home / "keys.jsonl"))
    with pytest.raises(OptionError, match="go together"):
        serve(ServeOptions(models=given["models"], lab=tmp_path / "lab"))
    with pytest.raises(InputError, match="cannot be read"):
        Lab(tmp_path, tmp_path / "none.toml", model=first / "model", index=None)
    (tmp_path / "other.toml").write_text('[corpus]\nstage = "corpus"\n')
    with pytest.raises(OptionError, match="makes no 'model'"):
        Lab(tmp_path, tmp_path / "other.toml", model=first / "model", index=None)
    stranger = tmp_path / "model"
    shutil.copytree(first / "model", stranger)
    (stranger / "manifest.json").unlink()
    with pytest.raises(OptionError, match="comes from no Atlas"):
        Lab(tmp_path, home / "recipe.toml", model=stranger, index=None)
