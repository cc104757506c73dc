"""The report of a chat model, and of two evaluations side by side."""

from __future__ import annotations

import json
import re
import shutil
from html import escape

import pytest
from tests.evaluate.web import questions, write_lines, write_web

from ropewalk.artifact import open_artifact
from ropewalk.corpus.reading import read_documents
from ropewalk.evaluate import ReportOptions, run_eval, run_report
from ropewalk.evaluate.answers import read_answers
from ropewalk.evaluate.memorised import memorised
from ropewalk.evaluate.report import page_of, shown_answers
from ropewalk.runtime.errors import InputError
from ropewalk.trace.index import Index


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
    assert f"{own['bytes_per_token']['this one']:.2f}" in page.partition(">Vocabulary</h2>")[2]
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
    assert page.count("<svg") == 7  # two of pretraining, two of each of the later models, abstention
    for name in ("model", "sft", "base", "corpus", "pages", "index", "tokens"):
        assert f"<td>{name}<br>" in page


def at(figures: object, pointer: str) -> object:
    """What a JSON pointer leads to."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        assert isinstance(figures, dict)
        figures = figures[key]
    return figures


def test_every_heading_and_plot_says_where_its_figures_stand(home, evaluation, page):
    report = home.folder / "report"
    figures = json.loads((report / "figures.json").read_text())
    places = re.findall(r'<(h2|figure) data-file="figures.json" data-place="([^"]+)"', page)
    assert len([kind for kind, _ in places if kind == "figure"]) == page.count("<svg") == page.count("<figure")
    assert len([kind for kind, _ in places if kind == "h2"]) == page.count("<h2")
    for _, place in places:
        assert at(figures, place) is not None
    measured = json.loads((evaluation / "evaluation.json").read_text())
    assert measured.items() <= figures["evaluation"].items()
    for plot in figures["plots"].values():
        for series in plot["series"]:
            assert len(series["x"]) == len(series["y"]) > 0
    rows = [json.loads(line) for line in (home.folder / "base" / "logs" / "metrics.jsonl").read_text().splitlines()]
    drawn = figures["plots"]["base/bits_per_byte"]["series"][0]["y"]
    assert drawn == [row["held_out/bits_per_byte"] for row in rows if "held_out/bits_per_byte" in row]


def test_what_it_took(home, evaluation, tmp_path):
    made = run_report(ReportOptions(evaluation, price_per_hour=3600.0), out=tmp_path / "report")
    costs = json.loads((made.path / "figures.json").read_text())["costs"]
    seconds = {one.path.name: one.manifest["made_by"]["seconds"] for one in map(open_artifact, home.folder.glob("base"))}
    row = next(row for row in costs["artifacts"] if row["artifact"] == "base")
    assert row["seconds"] == row["cost"] == pytest.approx(seconds["base"], abs=1e-3)
    assert row["tokens_per_second"] > 0
    assert costs["cost"] == pytest.approx(sum(row["seconds"] for row in costs["artifacts"]), abs=0.01)


def test_what_is_repeated_word_for_word(home):
    with Index.open(home.folder / "index") as index:
        text = next(iter(read_documents(home.folder / "corpus", columns=("text", "split"), split="train")))["text"][
            0
        ].as_py()
        samples = [{"seed": 0, "prompt": "", "text": f"Nobody wrote this. {text[:80]}"}]
        found = memorised(samples, index)
    assert found["longest"].strip() in text
    assert 0.7 < found["copied_fraction"] < 0.9


def test_the_model_card_says_what_was_measured(home, evaluation, page):
    card = (home.folder / "report" / "README.md").read_text()
    _, metadata, text = card.split("---\n", 2)
    values = {key: json.loads(value) for key, value in (line.split(": ", 1) for line in metadata.splitlines())}
    results = {one["dataset"]["name"]: one["metrics"][0]["value"] for one in values["model-index"][0]["results"]}
    measured = json.loads((evaluation / "evaluation.json").read_text())
    assert results["held-out documents"] == measured["bits_per_byte"]["model"]
    assert results["questions: seen"] == measured["questions"]["groups"][0]["accuracy"]["share"]
    for heading in ("Use", "Training data", "Evaluation", "Samples", "Limits", "How it was made"):
        assert f"\n## {heading}\n" in text
    assert "<script" not in text


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
    assert 'data-file="comparison.json" data-place="/groups"' in page
    both = json.loads((report / "figures.json").read_text())["plots"]
    assert [one["label"] for one in both["both"]["series"]] == [one["label"] for one in both["abstention"]["series"]]
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
