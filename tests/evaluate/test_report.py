"""The report of a chat model, and of two evaluations side by side."""

from __future__ import annotations

import json
import re
import shutil
from html import escape

import pytest
from tests.evaluate.web import questions, write_lines, write_web

from ropewalk.evaluate import ReportOptions, run_eval, run_report
from ropewalk.evaluate.answers import read_answers
from ropewalk.evaluate.report import page_of, shown_answers
from ropewalk.runtime.errors import InputError


@pytest.fixture(scope="module")
def page(home, evaluation):
    return (run_report(ReportOptions(evaluation), out=home.folder / "report").path / "index.html").read_text()


@pytest.fixture(scope="module")
def other(home):
    """The pretrained model, by a web in which France has another capital and Peru is gone, and by its questions."""
    folder = home.folder / "changed"
    truth = write_web(folder / "web")
    for one in truth:
        one["facts"] = [
            {**fact, "value": "Lyon"} if fact["value"] == "Paris" else fact
            for fact in one["facts"]
            if fact["subject"] != "Peru"
        ]
    asked = questions()
    for one in asked:
        if one["value"] == "Paris":
            one |= {"value": "Lyon", "accept": ["The capital of France is Lyon."]}
        if one["subject"] == "Peru":
            one |= {"value": None, "accept": [], "refuse": True, "group": "unknown"}
    changed = {
        "truth": write_lines(folder / "truth.jsonl", truth),
        "questions": write_lines(folder / "questions.jsonl", asked),
    }
    return run_eval(home.options(model=home.folder / "base", **changed), out=folder / "evaluation").path


def test_the_page_stands_alone_and_tells_all(page, evaluation):
    assert "<script" not in page
    own = json.loads((evaluation / "evaluation.json").read_text())["vocabulary"]["groups"]["all"][0]
    assert f"{own['bytes_per_token']['this one']:.2f}" in page.partition("<h2>Vocabulary</h2>")[2]
    assert "sieht &lt;script&gt;alert(1)&lt;/script&gt; als Text" in page  # of a page that was dropped
    assert "src=" not in page
    assert not re.search(r'href="(?!#)|url\((?!#)', page)
    for heading in (
        "Questions",
        "What it does not know",
        "Answers, unedited",
        "against the known truth",
        "Training",
        "kept",
    ):
        assert heading in page
    figures = json.loads((evaluation / "evaluation.json").read_text())
    for row in figures["questions"]["groups"]:
        assert f"{100 * row['accuracy']['share']:.1f}%" in page
    assert page.count("<svg") == 6  # two of pretraining, two of each of the later models
    for name in ("model", "sft", "base", "corpus", "pages", "index", "tokens"):
        assert f"<td>{name}<br>" in page


def test_a_dozen_answers_of_a_group_at_fixed_places(page, evaluation):
    answers = read_answers(evaluation / "answers.jsonl")
    shown = shown_answers(answers)
    assert {group: len(some) for group, some in shown.items()} == {"seen": 12, "held_out": 4, "invented": 2}
    assert shown["seen"][0] == answers[0]
    for some in shown.values():
        for answer in some:
            assert f"<td>{escape(answer.answer, quote=True).replace('&#x27;', '&#39;')}</td>" in page


def test_two_side_by_side(home, evaluation, other, tmp_path):
    report = run_report(ReportOptions(evaluation, other), out=tmp_path / "report").path
    compared = json.loads((report / "comparison.json").read_text())
    assert compared["names"] == [home.folder.name, "changed"]
    asked = {row[0]["question"] for row in compared["facts"]}
    expected = {f"What is the {relation} of Peru?" for relation in ("capital", "currency")}
    assert asked == {*expected, "What is the capital of France?"}
    assert compared["web"]["altered"] == [{"subject": "France", "relation": "capital", "values": [["Paris"], ["Lyon"]]}]
    assert compared["web"]["only"] == [["Peru"], []]
    assert all(one["answer"] != two["answer"] for one, two in compared["answers"])
    groups = {row["group"]: row["accuracy"] for row in compared["groups"]}
    assert groups["unknown"][0] is None
    assert groups["seen"][0]["hits"] > groups["seen"][1]["hits"] == 0
    page = (report / "index.html").read_text()
    for text in ("What their webs say otherwise", "Lyon", "Only on pages of", "where the two lines part"):
        assert text in page


def test_what_asked_nothing_cannot_be_compared(home, evaluation, tmp_path):
    silent = run_eval(home.options(questions=None, index=None), out=tmp_path / "silent").path
    with pytest.raises(InputError, match="asked no questions"):
        run_report(ReportOptions(evaluation, silent), out=tmp_path / "report")
    alone = (run_report(ReportOptions(silent), out=tmp_path / "alone").path / "index.html").read_text()
    assert "What it does not know" not in alone
    assert "against the known truth" in alone


def test_what_is_gone_is_said(home, evaluation, tmp_path):
    copied = tmp_path / "run"
    shutil.copytree(home.folder, copied)
    shutil.rmtree(copied / "base")
    page = (run_report(ReportOptions(copied / "evaluation"), out=tmp_path / "report").path / "index.html").read_text()
    assert "base is not an artifact" in page or "base is not a finished model artifact" in page


def test_addresses_as_people_read_them():
    assert page_of("http://127.0.0.1:8470/atlas/c%C3%B4te.html") == "/atlas/côte.html"
    assert page_of("https://example.org/a.html") == "example.org/a.html"
    assert page_of("file:notes/a.md") == "notes/a.md"
    assert page_of("http://[x/a.html") == "http://[x/a.html"
