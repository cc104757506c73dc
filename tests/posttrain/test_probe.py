"""A model is asked what it knows; lessons teach it to say so, and not to make up the rest; an interrupted probe goes on."""

from __future__ import annotations

import json

import pytest
from tests.posttrain.conftest import COLOURS, NAMES

from ropewalk.evaluate.answers import Answer
from ropewalk.evaluate.questions import refuses
from ropewalk.evaluate.scores import abstention
from ropewalk.posttrain import ProbeOptions, SftOptions, probe, run_probe, run_sft
from ropewalk.posttrain.judged import read_pairs
from ropewalk.posttrain.probe import REFUSALS
from ropewalk.runtime.errors import InputError

STRANGERS = ("while", "yield", "lambda", "async", "global", "assert", "except", "finally", "break", "continue")


def question(number: int, name: str, colour: str | None, **others) -> dict:
    accept = {} if colour is None else {"accept": [f"The colour of {name} is {colour}."]}
    return {
        "id": f"{number}", "group": "seen", "relation": "colour", "subject": name, **accept, **others,
        "messages": [{"role": "user", "content": f"What colour is {name}?"}],
    }  # fmt: skip


@pytest.fixture(scope="module")
def asked(write_lines):
    """What the tuned model was told, what it could not know, and what nobody knows."""
    told = [question(i, name, COLOURS[i % 4]) for i, name in enumerate(NAMES)]
    strange = [question(100 + i, name, "mauve") for i, name in enumerate(STRANGERS)]
    return write_lines([*told, *strange, question(200, "nothing", None, refuse=True)])


@pytest.fixture(scope="module")
def probed(tmp_path_factory, tuned, asked):
    options = ProbeOptions(model=tuned.path, questions=asked, samples=6, max_tokens=16)
    return run_probe(options, out=tmp_path_factory.mktemp("probe") / "probe")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_known_is_told_from_what_is_not(probed):
    found = {one["id"]: one for one in lines(probed.path / "probed.jsonl")}
    assert probed.facts["known"] >= 9
    assert (probed.facts["unknown"], probed.facts["unknowable"]) == (10, 1)
    assert all(found[f"{100 + i}"]["verdict"] == "unknown" for i in range(10))
    known = [one for one in found.values() if one["verdict"] == "known"]
    assert all(one["right"] >= 3 and one["answer"].startswith("The colour of") for one in known)


def test_lessons_are_its_own_right_answers_and_varied_refusals(probed):
    spoken = {
        one["messages"][0]["content"]: one["messages"][-1]["content"] for one in lines(probed.path / "conversations.jsonl")
    }
    found = lines(probed.path / "probed.jsonl")
    greedy = {one["id"]: one["answer"] for one in lines(probed.path / "answers.jsonl") if one["grade"] == "right"}
    refusals = [text for text in spoken.values() if refuses(text)]
    answers = [text for text in spoken.values() if not refuses(text)]
    assert sorted(answers) == sorted(greedy.get(one["id"], one["answer"]) for one in found if one["verdict"] == "known")
    assert 0 < len(refusals) <= len(answers) and len(set(refusals)) > 2
    assert all(refuses(text) for text in REFUSALS)


def test_nothing_but_right_answers_is_taught_where_no_refusals_are_wanted(tmp_path, probed, tuned, asked):
    options = ProbeOptions(model=tuned.path, questions=asked, samples=6, max_tokens=16, refused_fraction=0.0)
    kept = lines(run_probe(options, out=tmp_path / "kept").path / "conversations.jsonl")
    known = [one for one in lines(probed.path / "probed.jsonl") if one["verdict"] == "known"]
    assert len(kept) == len(known) and not any(refuses(one["messages"][-1]["content"]) for one in kept)


def test_pairs_are_a_right_answer_and_another(tmp_path, probed, tuned, asked):
    found = {one["id"]: one for one in lines(probed.path / "probed.jsonl")}
    pairs = read_pairs(probed.path / "preferences.jsonl")
    assert {pair.id for pair in pairs} == {name for name, one in found.items() if 0 < one["right"] < 6}
    assert all(pair.chosen[0]["content"] == found[pair.id]["answer"] for pair in pairs)
    assert all(pair.rejected[0]["content"] == found[pair.id]["mistake"] for pair in pairs)


def test_after_the_lessons_it_says_what_it_does_not_know(tmp_path, tuned, asked, probed, chat_tokens):
    lessons = chat_tokens(lines(probed.path / "conversations.jsonl") * 4)
    options = SftOptions(model=tuned.path, tokens=lessons, epochs=12.0, batch_rows=4, warm_up_steps=3)
    taught = run_sft(options, out=tmp_path / "taught")
    options = ProbeOptions(model=taught.path, questions=asked, before=probed.path, samples=2, max_tokens=16)
    again = run_probe(options, out=tmp_path / "again")
    figures = json.loads((again.path / "probe.json").read_text())
    assert figures["before"]["unknown"]["wrong"] == 10
    assert figures["greedy"]["unknown"]["wrong"] <= 2
    assert figures["greedy"]["known"]["right"] >= figures["before"]["known"]["right"] - 1
    page = (again.path / "index.html").read_text()
    assert "wrong before" in page and "<svg" in page


def test_an_interrupted_probe_goes_on(tmp_path, tuned, asked, probed, monkeypatch):
    monkeypatch.setattr(probe, "TOGETHER", 5)
    out, batches, ask = tmp_path / "probe", [], probe._ask_often

    def broken_off(engine, questions, options):
        batches.append(questions[0].id)
        if len(batches) == 3:
            raise KeyboardInterrupt
        return ask(engine, questions, options)

    monkeypatch.setattr(probe, "_ask_often", broken_off)
    options = ProbeOptions(model=tuned.path, questions=asked, samples=6, max_tokens=16)
    with pytest.raises(KeyboardInterrupt):
        run_probe(options, out=out)
    assert run_probe(options, out=out).digest == probed.digest
    assert batches == ["0", "5", "10", "10", "103", "108"]  # the third was begun twice


def test_another_file_is_no_before(tmp_path, tuned, probed, write_lines):
    other = write_lines([question(0, "import", "red")])
    with pytest.raises(InputError, match="asked other questions"):
        run_probe(ProbeOptions(model=tuned.path, questions=other, before=probed.path), out=tmp_path / "probe")


def test_the_abstention_curve():
    def answer(confidence, grade, text="Red."):
        return Answer("", "", "", "", "", None, False, text, grade, confidence)

    answers = [answer(0.9, "right"), answer(0.8, "wrong"), answer(0.8, "right"), answer(0.1, "refused", "I don't know.")]
    assert abstention(answers) == ([0.25, 0.75], [1.0, pytest.approx(2 / 3)])
