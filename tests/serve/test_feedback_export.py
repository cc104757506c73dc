"""Judgements as files to train on: the trainers' own readers say what is in them."""

from __future__ import annotations

import json
from contextlib import closing
from itertools import count

import pytest
from tests.cli.command import refusal, ropewalk
from tests.serve.test_feedback import an_answer, user

from ropewalk.artifact import open_artifact
from ropewalk.posttrain.judged import read_pairs, read_thumbs
from ropewalk.runtime.errors import ArtifactError
from ropewalk.serve import ExportFeedbackOptions, run_export_feedback
from ropewalk.serve.feedback import Judgement, Store

NAMES = ("preferences.jsonl", "preferences-held-out.jsonl", "thumbs.jsonl", "thumbs-held-out.jsonl")
SQLITE_MOVES_BYTES = 1000 * 4096  # wal_autocheckpoint's default


class Writer:
    """Fills a store with answers and judgements of them."""

    def __init__(self, path):
        self.store, self.numbers = Store(path, create=True), count()
        self.store._connection.execute("PRAGMA synchronous = OFF")  # the disk is not what is looked at here

    def close(self):
        self.store.close()

    def answer(self, text, question="What is hemp?", **fields):
        return an_answer(next(self.numbers), text=text, messages=fields.pop("messages", user(question)), **fields)

    def judge(self, kind, value, *answers, text=""):
        name = f"fb-{next(self.numbers)}"
        keys = [answer.key for answer in answers]
        self.store.add(Judgement(name, kind, value, *keys, text=text), answers)
        return name


@pytest.fixture
def writer(tmp_path):
    with closing(Writer(tmp_path / "feedback.sqlite")) as writer:
        yield writer


def export(tmp_path, **options):
    out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
    options = {"held_out_fraction": 0.0, **options}
    run_export_feedback(ExportFeedbackOptions(store=tmp_path / "feedback.sqlite", **options), out=out)
    return out


def said(pair):
    return pair.chosen[0]["content"], pair.rejected[0]["content"]


def test_choices_edits_and_opposite_thumbs_become_pairs_in_their_order(tmp_path, writer):
    brown, blue = writer.answer("brown"), writer.answer("blue")
    left = writer.judge("choice", "left", brown, blue)
    right = writer.judge("choice", "right", writer.answer("red"), writer.answer("brown!"))
    edit = writer.judge("edit", "edited", writer.answer("hemp brown"), text="Hemp is brown.")
    up = writer.judge("thumb", "good", writer.answer("brown?"))
    down = writer.judge("thumb", "bad", writer.answer("green"))
    writer.judge("thumb", "good", writer.answer("green", question="What is moss?"))
    pairs = read_pairs(export(tmp_path) / "preferences.jsonl")
    assert [(pair.id, *said(pair)) for pair in pairs] == [
        (left, "brown", "blue"), (right, "brown!", "red"), (edit, "Hemp is brown.", "hemp brown"),
        (f"{up}/{down}", "brown?", "green"),
    ]  # fmt: skip
    assert all(list(pair.prompt) == user("What is hemp?") for pair in pairs)


def test_thumbs_become_judged_answers(tmp_path, writer):
    up = writer.judge("thumb", "good", writer.answer("brown"))
    down = writer.judge("thumb", "bad", writer.answer("red", question="What is moss?"))
    thumbs = read_thumbs(export(tmp_path) / "thumbs.jsonl")
    assert [(thumb.id, thumb.answer[0]["content"], thumb.good) for thumb in thumbs] == [
        (up, "brown", True), (down, "red", False),
    ]  # fmt: skip


def test_every_thumb_is_in_a_pair_and_no_more_often_than_it_must_be(tmp_path, writer):
    for number in range(5):
        writer.judge("thumb", "bad", writer.answer(f"bad {number}"))
    for number in range(2):
        writer.judge("thumb", "good", writer.answer(f"good {number}"))
    pairs = [said(pair) for pair in read_pairs(export(tmp_path) / "preferences.jsonl")]
    assert sorted(rejected for _, rejected in pairs) == [f"bad {number}" for number in range(5)]
    assert {chosen for chosen, _ in pairs} == {"good 0", "good 1"}


def test_what_cannot_be_learned_from_is_left_out_and_counted(tmp_path, writer, capsys):
    kept = writer.judge("choice", "left", writer.answer("brown"), writer.answer("red", finish="length"))
    for value in ("tie", "neither"):
        writer.judge("choice", value, writer.answer("a"), writer.answer("b"))
    writer.judge("choice", "left", writer.answer("same"), writer.answer("same"))
    writer.judge("choice", "right", writer.answer("a"), writer.answer("b and then", finish="length"))
    writer.judge("thumb", "good", writer.answer("so it", question="cut?", finish="length"))
    bad = writer.judge("thumb", "bad", writer.answer("so it", question="cut?", finish="length"))
    begun = [*user("Hemp"), {"role": "assistant", "content": "is"}]
    writer.judge("thumb", "good", writer.answer("brown", messages=begun))
    for number in range(3):
        writer.store.retract(writer.judge("thumb", "bad", writer.answer(f"gone {number}")))
    out = export(tmp_path)
    assert [pair.id for pair in read_pairs(out / "preferences.jsonl")] == [kept]
    assert [thumb.id for thumb in read_thumbs(out / "thumbs.jsonl")] == [bad]
    counted = capsys.readouterr().err
    for line in (
        "pairs that are ties: 2", "pairs of the same words: 2", "pairs that would teach to stop in the middle: 1",
        "thumbs that would teach to stop in the middle: 1", "thumbs on answers to no question: 1", "judgements retracted: 3",
    ):  # fmt: skip
        assert f"left out, {line}\n" in counted


def test_the_latest_judgement_of_the_same_counts_whichever_side_was_shown(tmp_path, writer):
    one, other = writer.answer("brown"), writer.answer("red")
    writer.judge("choice", "left", one, other)
    last = writer.judge("choice", "left", other, one)
    for text in ("Hemp is.", "Hemp is brown."):
        edit = writer.judge("edit", "edited", one, text=text)
    pairs = read_pairs(export(tmp_path) / "preferences.jsonl")
    assert [(pair.id, *said(pair)) for pair in pairs] == [(last, "red", "brown"), (edit, "Hemp is brown.", "brown")]


def test_a_conversation_is_held_out_whole_and_stays_so_as_the_store_grows(tmp_path, writer):
    def turns(number):
        first = [{"role": "system", "content": "Be brief."}, *user(f"Question {number}")]
        return first, [*first, {"role": "assistant", "content": "Yes."}, *user("Why?")]

    def questions(out, name):
        return [row.prompt[1]["content"] for row in read_thumbs(out / name)]

    for number in range(200):
        for messages in turns(number):
            writer.judge("thumb", "good", writer.answer("so", messages=messages))
    before = export(tmp_path, held_out_fraction=0.2)
    held = questions(before, "thumbs-held-out.jsonl")
    assert 20 < len(set(held)) < 60
    assert len(held) == 2 * len(set(held))
    assert not set(held) & set(questions(before, "thumbs.jsonl"))
    writer.judge("thumb", "bad", writer.answer("no", messages=turns(0)[0]))
    for number in range(200, 220):
        writer.judge("thumb", "good", writer.answer("so", messages=turns(number)[0]))
    after = export(tmp_path, held_out_fraction=0.2)
    assert set(questions(after, "thumbs-held-out.jsonl")) & {f"Question {number}" for number in range(200)} == set(held)


def test_the_same_store_gives_the_same_bytes_and_one_that_grew_is_refused(tmp_path, writer):
    writer.judge("choice", "left", writer.answer("brün"), writer.answer("blau"))
    writer.judge("thumb", "good", writer.answer("brown"))
    first, second = export(tmp_path), export(tmp_path)
    assert open_artifact(first).digest == open_artifact(second).digest
    assert sorted(open_artifact(first).manifest["files"]) == sorted(NAMES)
    options = ExportFeedbackOptions(store=tmp_path / "feedback.sqlite", held_out_fraction=0.0)
    sealed = (first / "manifest.json").stat().st_mtime_ns
    run_export_feedback(options, out=first)
    assert (first / "manifest.json").stat().st_mtime_ns == sealed
    writer.judge("thumb", "bad", writer.answer("red"))
    with pytest.raises(ArtifactError, match=r"was made by another recipe .*store"):
        run_export_feedback(options, out=first)
    run_export_feedback(options, out=first, force=True)
    assert len(read_thumbs(first / "thumbs.jsonl")) == 2


def test_what_is_written_meanwhile_stays_out_of_the_file_that_is_hashed(tmp_path, writer):
    """More than makes SQLite move rows from beside the file into it."""
    path = tmp_path / "feedback.sqlite"
    writer.judge("thumb", "good", writer.answer("brown"))
    with closing(Store(path)) as reader:
        with reader.at_rest():
            before = path.read_bytes()
            for number in range(300):
                writer.judge("thumb", "good", writer.answer(f"brown {number}" * 1000))
            assert path.with_name("feedback.sqlite-wal").stat().st_size > 2 * SQLITE_MOVES_BYTES
            assert path.read_bytes() == before
            assert len(reader.judged()[1]) == 1
        with reader.at_rest():
            assert path.read_bytes() != before
            assert len(reader.judged()[1]) == 301


def test_the_verb_says_what_it_wrote_and_a_missing_store_is_one_sentence(tmp_path, writer):
    writer.judge("thumb", "good", writer.answer("brown"))
    store, out = tmp_path / "feedback.sqlite", tmp_path / "out"
    process = ropewalk("feedback", "export", "--store", store, "--out", out, "--held-out-fraction", "0")
    assert process.returncode == 0
    assert ["1", "thumbs.jsonl"] in [line.split() for line in process.stderr.splitlines()]
    assert json.loads((out / "thumbs.jsonl").read_text())["label"] is True
    missing = ropewalk("feedback", "export", "--store", tmp_path / "none", "--out", tmp_path / "other")
    assert "give the file that ropewalk serve --feedback writes" in refusal(missing)
