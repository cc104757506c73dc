"""What people say of answers: kept as the server wrote them, counted once, taken back, refused where it makes no sense."""

from __future__ import annotations

import json
import sqlite3
import stat
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager

import pytest
from tests.serve.asking import ask
from tests.serve.test_completions import small_model
from tests.serve.world import running

from ropewalk.runtime.errors import InputError, MachineError
from ropewalk.serve.app import Service
from ropewalk.serve.feedback import MOST_JUDGEMENTS, Answer, AnswerKey, Judgement, Store, TooManyError
from ropewalk.tokenizer.chat import render_prompt


@contextmanager
def keeping(path, **models):
    """A server that keeps feedback in a file."""
    models = models or {"small": small_model("small")}
    with (
        closing(Store(path, create=True)) as store,
        running(Service(models, most_waiting=12, starters=(), feedback=store)) as address,
    ):
        yield address


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("feedback") / "feedback.sqlite"


@pytest.fixture(scope="module")
def address(path):
    with keeping(path) as address:
        yield address


def user(text):
    return [{"role": "user", "content": text}]


def answered(address, text="hemp?", **fields):
    body = {"model": "small", "messages": user(text), "max_tokens": 5, "seed": 1, **fields}
    status, answer = ask(address, "/v1/chat/completions", body)
    assert status == 200
    return answer


def said(address, **body):
    status, told = ask(address, "/v1/feedback", body)
    assert status == 200, told
    return told["id"]


def refused(address, **body):
    status, told = ask(address, "/v1/feedback", body)
    return status, told["error"]["message"]


def delete(address, judgement):
    request = urllib.request.Request(f"{address}/v1/feedback/{judgement}", method="DELETE")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def judged(path):
    with closing(Store(path)) as store:
        return store.judged()


def test_a_judged_answer_is_kept_as_the_engine_wrote_it(path, address):
    answer = answered(address, logprobs=True, temperature=0.5, n=2)
    second = {"id": answer["id"], "choice": 1}
    judgement = said(address, kind="thumb", answer=second, good=False, reasons=["not true"], comment="<b>\0🧵")
    answers, judgements = judged(path)
    [kept] = [one for one in judgements if one.id == judgement]
    assert (kept.kind, kept.value, kept.reasons, kept.comment) == ("thumb", "bad", ("not true",), "<b>\0🧵")
    row = answers[AnswerKey(answer["id"], 1)]
    model = small_model("small")
    engine = model.engine
    assert list(row.messages) == user("hemp?")
    assert (row.text, row.finish) == (answer["choices"][1]["message"]["content"], answer["choices"][1]["finish_reason"])
    assert row.prompt_ids == render_prompt(engine.tokenizer, user("hemp?"))
    [made] = engine.generate([row.prompt_ids], [sampling_of(row)])
    assert (row.token_ids, row.logprobs) == (made.ids, pytest.approx(made.logprobs, abs=1e-5))
    assert (row.model, row.model_digest) == ("small", model.digest)
    assert (row.sampling["temperature"], row.sampling["seed"]) == (0.5, 2)
    assert AnswerKey(answer["id"], 0) not in answers  # nobody judged it, so it is nowhere


def sampling_of(row):
    from ropewalk.engine.sampling import Sampling

    return Sampling(**{name: tuple(value) if isinstance(value, list) else value for name, value in row.sampling.items()})


def test_a_streamed_answer_may_be_judged_when_its_last_piece_is_there(path, address):
    body = json.dumps({"model": "small", "messages": user("tar?"), "max_tokens": 4, "stream": True}).encode()
    request = urllib.request.Request(f"{address}/v1/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        for line in response:
            if line.startswith(b"data: {"):
                chunk = json.loads(line[6:])
                if chunk["choices"][0]["finish_reason"]:
                    judgement = said(address, kind="thumb", answer={"id": chunk["id"]}, good=True)
    assert judgement in {one.id for one in judged(path)[1]}


def test_choices_and_edits_are_kept(path, address):
    first, second = (answered(address, "moss?", seed=seed)["id"] for seed in (1, 2))
    chosen = said(address, kind="choice", left={"id": second}, right={"id": first}, preferred="right")
    edited = said(address, kind="edit", answer={"id": first}, text="Moss is green.")
    by_id = {one.id: one for one in judged(path)[1]}
    assert by_id[chosen].answer.id == second and by_id[chosen].other.id == first and by_id[chosen].value == "right"
    assert by_id[edited].text == "Moss is green."


def test_what_is_taken_back_counts_no_more_and_stays_in_the_file(path, address):
    judgement = said(address, kind="thumb", answer={"id": answered(address)["id"]}, good=True)
    assert [delete(address, judgement), delete(address, judgement)] == [200, 200]
    assert judgement not in {one.id for one in judged(path)[1]}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM judgements WHERE id = ?", (judgement,)).fetchone() == (1,)
    assert delete(address, "fb-none") == 404


def test_of_several_thumbs_for_an_answer_the_last_counts(path, address):
    answer = {"id": answered(address)["id"]}
    for good in (True, False, True):
        last = said(address, kind="thumb", answer=answer, good=good)
    found = [one for one in judged(path)[1] if one.answer.id == answer["id"]]
    assert [(one.id, one.value) for one in found] == [(last, "good")]
    delete(address, last)  # and those before do not come back
    assert all(one.answer.id != answer["id"] for one in judged(path)[1])


def test_what_cannot_be_meant_is_refused_with_a_sentence(address):
    one, other = answered(address, "rust?")["id"], answered(address, "jute?")["id"]
    assert refused(address, kind="thumb", answer={"id": "chatcmpl-" + "0" * 32}, good=True)[0] == 404
    assert refused(address, kind="thumb", answer={"id": one, "choice": 1}, good=True)[0] == 404
    choice = {"kind": "choice", "preferred": "tie"}
    assert "same answer" in refused(address, left={"id": one}, right={"id": one}, **choice)[1]
    assert "same conversation" in refused(address, left={"id": one}, right={"id": other}, **choice)[1]
    assert refused(address, kind="rank", answer={"id": one}) == (
        400, "kind says what the body is: give 'thumb', 'choice' or 'edit'.",
    )  # fmt: skip
    assert refused(address, kind="thumb", answer={"id": one})[1] == "thumb.good is missing."
    long = refused(address, kind="thumb", answer={"id": one}, good=True, comment="x" * 2_001)
    assert long[0] == 400
    assert refused(address, kind="edit", answer={"id": one}, text="x" * 32_001)[0] == 400
    assert refused(address, kind="thumb", answer={"id": one}, good=True, reasons=["x"] * 9)[0] == 400
    for field in ({"reasons": ["half \ud83e"]}, {"comment": "half \ud83e"}):
        assert refused(address, kind="thumb", answer={"id": one}, good=True, **field)[0] == 400
    assert refused(address, kind="edit", answer={"id": one}, text="half \ud83e")[0] == 400


def test_an_edit_that_changes_nothing_is_refused(address):
    answer = answered(address, "silk?")
    text = answer["choices"][0]["message"]["content"]
    assert refused(address, kind="edit", answer={"id": answer["id"]}, text=text)[1].startswith("This is the answer as it")


def test_without_a_file_nothing_is_kept_and_the_api_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with running(Service({"small": small_model("small")}, most_waiting=4, starters=())) as address:
        answer = answered(address)
        assert ask(address, "/v1/feedback")[1]["kept"] is False
        status, message = refused(address, kind="thumb", answer={"id": answer["id"]}, good=True)
    assert (status, message) == (403, "This server keeps no feedback: start it with --feedback FILE.")
    assert list(tmp_path.iterdir()) == []


def test_another_server_on_the_same_file_knows_what_was_judged(tmp_path):
    path = tmp_path / "feedback.sqlite"
    with keeping(path) as address:
        known, unknown = answered(address)["id"], answered(address)["id"]
        said(address, kind="thumb", answer={"id": known}, good=True)
    with keeping(path) as address:
        said(address, kind="edit", answer={"id": known}, text="Hemp is brown.")
        assert refused(address, kind="thumb", answer={"id": unknown}, good=True)[0] == 404
    assert [one.kind for one in judged(path)[1]] == ["thumb", "edit"]


def an_answer(number=0, **fields):
    made = {
        "id": f"chatcmpl-{number:032x}", "choice": 0, "created": 1, "model": "m", "model_digest": "d",
        "messages": user("What is hemp?"), "text": f"answer {number}", "finish": "stop", "prompt_ids": [1],
        "token_ids": [2, 3], "logprobs": [-0.5, -1.0], "sampling": {"seed": 0},
    }  # fmt: skip
    return Answer(**(made | fields))


def a_thumb(answer, name="fb-1", value="good"):
    return Judgement(id=name, kind="thumb", value=value, answer=answer.key, created=time.time())


def test_rows_can_be_neither_changed_nor_deleted(tmp_path):
    answer = an_answer()
    with closing(Store(tmp_path / "f", create=True)) as store:
        store.add(a_thumb(answer), [answer])
        store.retract("fb-1")
    with closing(sqlite3.connect(tmp_path / "f")) as connection:
        for table in ("answers", "judgements", "retractions"):
            for statement in (f"UPDATE {table} SET created = 0", f"DELETE FROM {table}"):
                with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                    connection.execute(statement)


def test_an_answer_takes_only_so_many_judgements(tmp_path):
    answer = an_answer()
    with closing(Store(tmp_path / "f", create=True)) as store:
        for number in range(MOST_JUDGEMENTS):
            store.add(a_thumb(answer, f"fb-{number}"), [answer])
        with pytest.raises(TooManyError):
            store.add(a_thumb(answer, "fb-last"), [answer])


def test_files_that_are_no_stores_are_refused(tmp_path):
    with pytest.raises(InputError, match="is not a file"):
        Store(tmp_path / "none")
    (tmp_path / "text").write_text("no database at all, only words " * 40)
    with pytest.raises(InputError, match="cannot be used"):
        Store(tmp_path / "text", create=True)
    with closing(sqlite3.connect(tmp_path / "other")) as connection:
        connection.execute("CREATE TABLE others (a)")
    with pytest.raises(InputError, match="is no store of feedback"):
        Store(tmp_path / "other", create=True)
    with pytest.raises(MachineError, match="give a file in a folder that is there"):
        Store(tmp_path / "none" / "feedback.sqlite", create=True)
    Store(tmp_path / "mine", create=True).close()
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o600
    with closing(sqlite3.connect(tmp_path / "mine")) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(InputError, match="is of version 2"):
        Store(tmp_path / "mine")
