"""Reports of runs, given by their folders: what lies in one is found, and two stand side by side."""

from __future__ import annotations

import json
import shutil

import pytest
from tests.cli.command import refusal, ropewalk
from tests.evaluate.test_benchmark import write_rows

from ropewalk import api
from ropewalk.evaluate import BenchmarkOptions, ReportOptions, run_benchmark, run_eval, run_report
from ropewalk.evaluate.runs import run_folder, with_runs_read
from ropewalk.runtime.errors import ArtifactError, InputError

RANKED = ("acc", "acc_norm", "acc_token")


@pytest.fixture(scope="module")
def run(home, evaluation, tmp_path_factory):
    """A run with two benchmarks of the evaluated model, and one of the model that it was trained from."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    shutil.copytree(home.folder, folder, ignore=shutil.ignore_patterns("report*", "changed"))
    source = write_rows(folder / "items.jsonl", 12)
    for name, model, task in (("first", "model", "copa"), ("second", "model", "piqa"), ("third", "base", "copa")):
        run_benchmark(BenchmarkOptions(model=folder / model, task=task, source=source), out=folder / name)
    return folder


@pytest.fixture(scope="module")
def other(home, run):
    """Another run: the pretrained model on the same pages."""
    folder = run.with_name("two")
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("evaluation", "report*"))
    run_eval(home._replace(folder=folder).options(model=folder / "base"), out=folder / "evaluation")
    return folder


def figures_of(report):
    return json.loads((report / "figures.json").read_text())


def test_a_run_s_folder_is_enough(run, evaluation):
    done = ropewalk("report", run)
    assert (done.returncode, done.stdout) == (0, f"{run / 'report'}\n"), done.stderr
    figures = figures_of(run / "report")
    assert (
        figures["evaluation"]["bits_per_byte"] == json.loads((evaluation / "evaluation.json").read_text())["bits_per_byte"]
    )
    assert [(one["artifact"], one["task"]) for one in figures["benchmarks"]] == [
        ("one/first", "copa"),
        ("one/second", "piqa"),
    ]
    for one in figures["benchmarks"]:
        scored = json.loads((run / one["artifact"].removeprefix("one/") / "benchmark.json").read_text())
        assert all(one[name] == scored[name] for name in RANKED)
        assert one["model"]["name"] == "one/model"
    page = (run / "report" / "index.html").read_text()
    assert page.count(">most probable a token<") == 2
    drawn = figures["plots"]["benchmarks"]["rows"]
    assert [row["name"] for row in drawn] == ["copa", "piqa"]
    assert [row["middle"] for row in drawn] == [one["acc_token"]["share"] for one in figures["benchmarks"]]
    assert '"name": "piqa"' in (run / "report" / "README.md").read_text()


def test_two_folders_stand_side_by_side(run, other):
    done = ropewalk("report", run, other)
    assert done.returncode == 0, done.stderr
    report = run / "report_beside_two"
    assert json.loads((report / "comparison.json").read_text())["names"] == ["one", "two"]
    rows = figures_of(report)["plots"]["benchmarks"]["rows"]
    assert [row["name"] for row in rows] == ["copa, one/model", "copa, two/base", "piqa, one/model"]


def test_flags_folders_and_the_api_make_the_same(run, other, tmp_path):
    flags = ("--evaluation", run / "evaluation", "--other", other / "evaluation")
    assert ropewalk("report", *flags, "--out", tmp_path / "flags").returncode == 0
    assert (
        ropewalk("report", run / "evaluation", "--other", other / "evaluation", "--out", tmp_path / "mixed").returncode == 0
    )
    called = api.report(tmp_path / "called", run / "evaluation", other / "evaluation")
    assert (tmp_path / "flags" / "figures.json").read_bytes() == (called.path / "figures.json").read_bytes()
    assert (tmp_path / "mixed" / "figures.json").read_bytes() == (called.path / "figures.json").read_bytes()
    by_folders = api.report(tmp_path / "folders", run, other)
    assert figures_of(by_folders.path)["benchmarks"] == figures_of(run / "report_beside_two")["benchmarks"]
    assert figures_of(called.path)["benchmarks"] == []


def test_runs_that_cannot_be_reported_are_told_in_a_sentence(run, tmp_path):
    (tmp_path / "empty").mkdir()
    said = refusal(ropewalk("report", run, tmp_path / "empty"))
    assert said.startswith(f"the run {tmp_path / 'empty'} holds no evaluation: make one with 'ropewalk eval'")
    assert "one too many" in refusal(ropewalk("report", run, run, run))
    assert refusal(ropewalk("report")) == "ropewalk report: give --evaluation, or its path alone"
    with pytest.raises(ArtifactError, match="nowhere is not a finished evaluation artifact"):
        api.report(tmp_path / "report", tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="holds model, but evaluation is needed"):
        api.report(tmp_path / "report", run / "model")
    shutil.copytree(run / "evaluation", tmp_path / "several" / "early")
    shutil.copytree(run / "evaluation", tmp_path / "several" / "late")
    with pytest.raises(InputError, match=r"holds 2 evaluations \(early, late\): give the path of one"):
        api.report(tmp_path / "report", tmp_path / "several")


def test_a_run_that_is_not_there_is_said_to_be_missing(run, tmp_path):
    assert "no folder of a run" in refusal(ropewalk("report", tmp_path / "nowhere"))
    assert "no folder of a run" in refusal(ropewalk("report", run, tmp_path / "nowhere"))


def test_a_recipe_says_all_that_it_wants_shown(run):
    given = ReportOptions(run / "evaluation")
    assert with_runs_read(given) == given
    assert run_folder(run / "evaluation") == run_folder(run) == run


def test_what_was_measured_of_another_model_is_left_out(run):
    assert [path.name for path in with_runs_read(ReportOptions(run)).benchmarks] == ["first", "second"]
    assert len(with_runs_read(ReportOptions(run, benchmarks=(run / "first", run / "third"))).benchmarks) == 3


def test_models_that_were_asked_nothing_have_their_texts_compared(home, tmp_path):
    for name, model in (("one", "model"), ("two", "base")):
        run_eval(home.options(model=home.folder / model, questions=None, index=None), out=tmp_path / name / "evaluation")
    report = run_report(ReportOptions(tmp_path / "one", tmp_path / "two"), out=tmp_path / "report").path
    compared = json.loads((report / "comparison.json").read_text())
    assert compared["groups"] == [] and len(compared["bits_per_byte"]) == 2
    page = (report / "index.html").read_text()
    assert "held-out bits per byte" in page and "What each model says" not in page
