"""From judgements to a model that is taken over, or not: the recipe that comes along, on a small web's model."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest
from tests.evaluate.web import ANSWERS, COUNTRIES, write_lines
from tests.serve.test_feedback_export import Writer

from ropewalk.artifact import open_artifact, verify
from ropewalk.cli import main
from ropewalk.posttrain import GateOptions, run_gate
from ropewalk.runtime.errors import ArtifactError, GateError, InputError

RECIPE = Path(__file__).parents[2] / "recipes" / "feedback.toml"
KIND, CURT = "Forgive me, I don't know that.", "I don't know."
GATE_REFUSES = 3


def judged(path, preferred, *, questions):
    """A store in which one of two answers to each question was chosen."""
    with closing(Writer(path)) as writer:
        for place, question in enumerate(questions):
            better, worse = preferred(place)
            writer.judge("choice", "left", writer.answer(better, question=question), writer.answer(worse, question=question))
    return path


def unknowable():
    return [f"What is the {relation} of {name}?" for relation in ANSWERS for name in map("Nowhere{}".format, range(60))]


def run_recipe(home, evaluation, store, into, **settings):
    """One command, on this home's model."""
    here = {
        "judged.store": store, "candidate.model": home.model, "evaluation.tokens": home.folder / "tokens",
        "evaluation.corpus": home.folder / "corpus", "evaluation.questions": home.folder / "questions.jsonl",
        "evaluation.answer_tokens": 40, "model.before": home.model, "model.evaluation_before": evaluation,
        "candidate.batch": 8, **{name.replace("__", "."): value for name, value in settings.items()},
    }  # fmt: skip
    flags = [word for name, value in here.items() for word in ("--set", f"{name}={value}")]
    return main(["run", str(RECIPE), "--into", str(into), *flags])


def test_what_people_prefer_is_taken_over_by_one_command(home, evaluation, tmp_path):
    store = judged(tmp_path / "store", lambda place: (KIND, CURT), questions=unknowable())
    assert run_recipe(home, evaluation, store, tmp_path / "run") == 0
    candidate, model = (open_artifact(tmp_path / "run" / name, "model") for name in ("candidate", "model"))
    assert model.digest == candidate.digest != open_artifact(home.model).digest
    assert verify(model.path) == []
    agreement = model.facts["agreement"]
    assert (agreement["of"], agreement["low"] > 0.5) == (held_out_rows(tmp_path / "run"), True)
    before, now = model.facts["right"]["all"]
    assert before - now <= 0.02


def held_out_rows(run):
    return open_artifact(run / "judged").facts["rows"]["preferences-held-out.jsonl"]


def last_line(capsys):
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_a_coin_s_choices_are_refused_with_an_exit_code_of_their_own(home, evaluation, tmp_path, capsys):
    lot = random.Random(1)
    store = judged(tmp_path / "store", lambda place: lot.sample((KIND, CURT), 2), questions=unknowable())
    assert run_recipe(home, evaluation, store, tmp_path / "run", model__most_lost=1.0) == GATE_REFUSES
    assert "candidate is not taken over: it agrees with" in last_line(capsys)
    assert not (tmp_path / "run" / "model").exists()


def test_what_is_preferred_is_refused_where_it_costs_what_was_known(home, evaluation, tmp_path, capsys):
    """People who like to hear that nothing is known, whatever was asked."""
    facts = [f"What is the {relation} of {name}?" for relation in ANSWERS for name in COUNTRIES]
    store = judged(tmp_path / "store", lambda place: (CURT, "France."), questions=facts * 3)
    faster = {"candidate__epochs": 12.0, "candidate__matrix_rate": 0.01}
    assert run_recipe(home, evaluation, store, tmp_path / "run", **faster) == GATE_REFUSES
    assert "of the questions, was on" in last_line(capsys)


def test_the_model_as_it_was_wins_nothing(home, evaluation, tmp_path):
    same = GateOptions(
        model=home.model, before=home.model, evaluation=evaluation, evaluation_before=evaluation,
        preferences=pairs(tmp_path),
    )  # fmt: skip
    with pytest.raises(GateError, match=r"agrees with 0\.0%"):
        run_gate(same, out=tmp_path / "gate")


def test_evaluations_of_other_models_and_pairs_that_cannot_be_read_are_refused(home, evaluation, tmp_path):
    given = {
        "model": home.folder / "sft",
        "before": home.model,
        "evaluation_before": evaluation,
        "preferences": pairs(tmp_path),
    }
    with pytest.raises(ArtifactError, match=r"is not an evaluation of .*sft"):
        run_gate(GateOptions(**given, evaluation=evaluation), out=tmp_path / "gate")
    long = write_lines(tmp_path / "long.jsonl", [{"prompt": "so " * 999, "chosen": "yes", "rejected": "no"}])
    same = GateOptions(**{**given, "model": home.model, "preferences": long}, evaluation=evaluation)
    with pytest.raises(InputError, match=r"no pair that .* can read"):
        run_gate(same, out=tmp_path / "gate")


def pairs(folder):
    return write_lines(folder / "pairs.jsonl", [{"prompt": "What is hemp?", "chosen": KIND, "rejected": CURT}])
