"""pass@k is what counting all ways to choose k of the answers gives."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from statistics import mean

import pytest

from ropewalk.artifact import open_artifact
from ropewalk.evaluate import ReportOptions, run_eval, run_report
from ropewalk.evaluate.passes import Drawn, pass_at, pass_figures
from ropewalk.runtime.errors import OptionError


@pytest.mark.parametrize("samples", range(1, 8))
def test_pass_at_k_is_the_share_of_all_choices_with_a_right_one(samples):
    for right in range(samples + 1):
        answers = [True] * right + [False] * (samples - right)
        for k in range(1, samples + 1):
            brute_force = mean(any(chosen) for chosen in combinations(answers, k))
            assert pass_at(k, right=right, samples=samples) == pytest.approx(brute_force, abs=1e-12)


def test_many_answers_do_not_overflow():
    assert pass_at(500, right=1, samples=1_000) == pytest.approx(0.5)
    assert pass_at(1, right=3, samples=1_000) == pytest.approx(0.003)


def test_figures_are_means_over_the_questions_of_a_group():
    drawn = {"seen": [Drawn("a", "seen", 3, 3), Drawn("b", "seen", 1, 3)], "invented": [Drawn("c", "invented", 0, 3)]}
    seen, invented = pass_figures(drawn)
    assert [one["k"] for one in seen["pass"]] == [1, 2]
    assert [one["share"] for one in seen["pass"]] == [round(2 / 3, 4), round(5 / 6, 4)]
    assert seen["pass"][0]["low"] < 0.5 and seen["pass"][0]["high"] == 1
    assert (invented["pass"][0]["low"], invented["pass"][0]["share"], invented["pass"][0]["high"]) == (0, 0, 1)


def test_an_evaluation_draws_answers(tmp_path, home):
    options = replace(home.options(), question_samples=4, untrained_questions=0, samples_per_prompt=0)
    made = run_eval(options, out=tmp_path / "evaluation")
    figures = json.loads((made.path / "evaluation.json").read_text())["questions"]
    lines = [json.loads(line) for line in (made.path / "samples.jsonl").read_text().splitlines()]
    assert len(lines) == figures["asked"]
    for row in figures["passes"]:
        shares = [line["right"] / 4 for line in lines if line["group"] == row["group"]]
        assert row["pass"][0]["share"] == round(mean(shares), 4)
        assert [one["k"] for one in row["pass"]] == [1, 2, 4]
        assert row["pass"][2]["share"] == round(mean(share > 0 for share in shares), 4)
    page = (run_report(ReportOptions(made.path), out=tmp_path / "report").path / "index.html").read_text()
    assert "pass@4" in page and "4 answers were drawn" in page
    assert open_artifact(made.path).facts["pass"]["seen"]["1"] > 0.3


def test_answers_are_drawn_to_questions(tmp_path, home):
    options = replace(home.options(), questions=None, index=None, question_samples=4)
    with pytest.raises(OptionError, match="--question-samples is about answers"):
        run_eval(options, out=tmp_path / "evaluation")
