"""The leaderboard finds the strengths that were planted, whatever length does, and says what it does not know."""

from __future__ import annotations

import math
from contextlib import closing

import numpy as np
import pytest
from tests.serve.test_feedback import an_answer

from ropewalk.runtime.errors import InputError
from ropewalk.serve import LeaderboardOptions, run_leaderboard
from ropewalk.serve.feedback import Judgement, Store
from ropewalk.serve.leaderboard import POINTS, Comparison, leaderboard

PLANTED = {"strong": 150.0, "middle": 30.0, "weak": -180.0}  # points


def compared(count, *, length_points=0.0, tie_fraction=0.0, wordy=(), seed=0):
    """Comparisons as the model has it. `wordy` models write three times as much; twice as long is worth `length_points`."""
    draws, names, found = np.random.default_rng(seed), list(PLANTED), []
    for _ in range(count):
        left, right = draws.choice(names, size=2, replace=False)
        tokens = [int(draws.integers(20, 60)) * (3 if name in wordy else 1) for name in (left, right)]
        longer = (tokens[0] - tokens[1]) / sum(tokens)
        nats = (PLANTED[left] - PLANTED[right] + 3 * length_points * longer) / POINTS
        preferred = "left" if draws.random() < 1 / (1 + math.exp(-nats)) else "right"
        found.append(Comparison(left, right, *tokens, "tie" if draws.random() < tie_fraction else preferred))
    return found


def test_planted_strengths_are_recovered_and_lie_in_their_intervals():
    board = leaderboard(compared(4_000), rounds=100, seed=1)
    assert list(board.models) == ["strong", "middle", "weak"]
    for name, points in PLANTED.items():
        assert board.models[name].value == pytest.approx(points, abs=25)
        assert board.models[name].low < points < board.models[name].high
        assert 5 < board.models[name].high - board.models[name].low < 60
    assert board.length.low < 0 < board.length.high


def test_what_length_wins_is_not_counted_as_strength():
    found = compared(4_000, length_points=200.0, wordy=("weak",))
    board = leaderboard(found, rounds=100, seed=1)
    assert board.length.value == pytest.approx(200, abs=50)
    assert board.models["weak"].value == pytest.approx(-180, abs=50)
    blind = leaderboard([Comparison(one.left, one.right, 1, 1, one.preferred) for one in found], rounds=1, seed=1)
    assert blind.models["weak"].value > -60  # without the column it would be taken for strength


def test_ties_are_half_each_way():
    """All ties: no difference. Three wins of four and one of four, told as two wins and two ties: the same odds."""
    same = leaderboard([Comparison("a", "b", 5, 5, "tie")] * 9 + [Comparison("a", "b", 5, 5, "neither")], rounds=1, seed=0)
    assert same.models["a"].value == pytest.approx(0, abs=1e-6)
    lots = 200  # so that the prior does not matter
    won = [Comparison("a", "b", 5, 5, "left")] * 3 * lots + [Comparison("a", "b", 5, 5, "right")] * lots
    tied = [Comparison("a", "b", 5, 5, "left")] * 2 * lots + [Comparison("b", "a", 5, 5, "tie")] * 2 * lots
    expected = math.log(3) * POINTS / 2
    for found in (won, tied):
        assert leaderboard(found, rounds=1, seed=0).models["a"].value == pytest.approx(expected, rel=0.01)


def test_a_model_that_never_lost_has_a_finite_strength_and_the_same_seed_gives_the_same():
    found = [Comparison("a", "b", 5, 6, "left")] * 20
    board = leaderboard(found, rounds=100, seed=3)
    assert 100 < board.models["a"].value < 2_000
    assert leaderboard(found, rounds=100, seed=3) == board


def test_models_that_nothing_joins_are_not_ranked():
    with pytest.raises(InputError, match="no two models"):
        leaderboard([], rounds=1, seed=0)
    found = [Comparison("a", "b", 5, 5, "left"), Comparison("c", "d", 5, 5, "left")]
    with pytest.raises(InputError, match="no chain of comparisons joins a and c"):
        leaderboard(found, rounds=1, seed=0)


def test_the_verb_ranks_a_store_s_models(tmp_path, capsys):
    with closing(Store(tmp_path / "f", create=True)) as store:
        for number in range(6):
            strong, weak = an_answer(2 * number, model="tiny/strong"), an_answer(2 * number + 1, model="tiny/weak")
            sides = (strong, weak) if number % 2 else (weak, strong)
            value = "left" if number % 2 else "right"
            store.add(Judgement(f"fb-{number}", "choice", value, sides[0].key, sides[1].key), sides)
        store.retract("fb-0")
    run_leaderboard(LeaderboardOptions(store=tmp_path / "f", rounds=100))
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["model", "tiny/strong", "tiny/weak", "an"]
    assert printed[1].split()[-1] == "5"
