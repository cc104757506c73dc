"""`ropewalk feedback leaderboard`: how strong the models are, from which of two answers people preferred.

Bradley and Terry 1952: an answer is preferred with probability sigmoid(strength of its model - strength of the other's).
People also prefer longer answers, so length is one more column (Chiang et al. 2024 call it style control): strengths are
what is left of a preference between answers of one length. A tie is half a preference each way.

Shapes: C comparisons, F columns: the models, then length.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from ropewalk.corpus.logistic import SparseRows, fit
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.progress import say
from ropewalk.runtime.seeds import generator
from ropewalk.serve import LeaderboardOptions
from ropewalk.serve.feedback import Answer, AnswerKey, Judgement, Store

POINTS = 400 / math.log(10)  # in a nat, as in chess: 400 points ahead is preferred 10 times in 11
PRIOR_NATS = 5.0  # standard deviation: a model that never lost would else be infinitely strong
TWICE_AS_LONG = 1 / 3  # the length column of an answer twice as long as the other
WON = {"left": (1.0, 1.0), "right": (-1.0, -1.0), "tie": (1.0, -1.0), "neither": (1.0, -1.0)}


@dataclass(frozen=True)
class Comparison:
    """Two answers that were shown side by side: their models, their lengths in tokens, and what was said of them."""

    left: str
    right: str
    left_tokens: int
    right_tokens: int
    preferred: str


@dataclass(frozen=True)
class Interval:
    """An estimate, and where 95 of 100 resamplings put it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Leaderboard:
    """Points of each model, their mean 0, best first; and what being twice as long is worth."""

    models: dict[str, Interval]
    length: Interval


def print_leaderboard(options: LeaderboardOptions) -> None:
    """Print the table.

    Raises:
        InputError: there is no store, no comparison of two models in it, or models that no chain of comparisons joins.
    """
    with closing(Store(options.store)) as store:
        found = comparisons(*store.judged())
    board = leaderboard(found, rounds=options.rounds, seed=options.seed)
    played = Counter(name for one in found for name in {one.left, one.right})
    print(f"{'model':<44}{'points':>8}{'95% interval':>18}{'comparisons':>13}")
    for name, points in board.models.items():
        print(f"{name:<44}{points.value:>8.0f}{_between(points):>18}{played[name]:>13,}")
    print(f"{'an answer twice as long':<44}{board.length.value:>8.0f}{_between(board.length):>18}{len(found):>13,}")
    say("400 points more: preferred 10 times in 11, at the same length. Ties count half each way.")


def comparisons(answers: Mapping[AnswerKey, Answer], judgements: Sequence[Judgement]) -> list[Comparison]:
    """The choices between two answers. A model is known by its name and digest: after a new training it is another one."""
    found = []
    for one in judgements:
        if one.other is not None:
            left, right = answers[one.answer], answers[one.other]
            tokens = len(left.logprobs), len(right.logprobs)  # an upstream server gives no ids
            found.append(Comparison(_named(left), _named(right), *tokens, one.value))
    return found


def _named(answer: Answer) -> str:
    return f"{answer.model} ({answer.model_digest[:12]})"


def leaderboard(found: Sequence[Comparison], *, rounds: int, seed: int) -> Leaderboard:
    """Fit strengths and length, and again to `rounds` samples of the comparisons, drawn with replacement.

    Two samples of one model say nothing of its strength, but something of length.

    Raises:
        InputError: there is nothing to compare, or there are models that no chain of comparisons joins.
    """
    names = sorted({name for one in found for name in (one.left, one.right)})
    _check_joined(names, found)
    draws = generator("leaderboard", seed)
    places = {name: place for place, name in enumerate(names)}
    table = _Table(
        np.array([(places[one.left], places[one.right], len(names)) for one in found]),
        np.array([(1.0, -1.0, _longer(one)) for one in found]),
        np.array([WON[one.preferred] for one in found]),
    )
    point = _fitted(table, np.arange(len(found)))
    sampled = np.stack([_fitted(table, draws.integers(len(found), size=len(found))) for _ in range(rounds)])
    low, high = np.quantile(sampled, (0.025, 0.975), axis=0)
    *strengths, length = (Interval(*map(float, values)) for values in zip(point, low, high, strict=True))
    ranked = sorted(zip(names, strengths, strict=True), key=lambda pair: -pair[1].value)
    return Leaderboard(dict(ranked), length)


@dataclass(frozen=True)
class _Table:
    """For each comparison (C,): its columns (C, 3), what stands there (C, 3), and the signs of its two rows (C, 2)."""

    columns: np.ndarray
    values: np.ndarray
    signs: np.ndarray


def _fitted(table: _Table, drawn: np.ndarray) -> np.ndarray:
    """Points of each model, and of being twice as long (F,), by the comparisons drawn."""
    rows = SparseRows(
        np.repeat(table.columns[drawn], 2, axis=0).ravel(),
        np.repeat(table.values[drawn], 2, axis=0).ravel(),
        np.arange(0, 6 * len(drawn) + 1, 3),
        int(table.columns[0, 2]) + 1,
    )
    # `fit` means over two rows a comparison: that each is a half is thereby counted.
    weights_F = fit(rows, table.signs[drawn].ravel(), l2=1 / (PRIOR_NATS**2 * len(drawn)))
    strengths = weights_F[:-1] - weights_F[:-1].mean()
    return np.append(strengths, weights_F[-1] * TWICE_AS_LONG) * POINTS


def _longer(one: Comparison) -> float:
    """By how much the left answer is longer, from -1 to 1."""
    return (one.left_tokens - one.right_tokens) / max(one.left_tokens + one.right_tokens, 1)


def _check_joined(names: Sequence[str], found: Sequence[Comparison]) -> None:
    if len(names) < 2:
        raise InputError("no two models have been compared: choose between answers of two on the chat page first")
    reached, grown = set(), {names[0]}
    while grown > reached:
        reached = grown
        grown = reached | {name for one in found if {one.left, one.right} & reached for name in (one.left, one.right)}
    for name in names:
        if name not in reached:
            raise InputError(f"no chain of comparisons joins {names[0]} and {name}: compare them, or others with both")


def _between(interval: Interval) -> str:
    return f"{interval.low:.0f} to {interval.high:.0f}"
