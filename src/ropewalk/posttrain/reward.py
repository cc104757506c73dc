"""A reward model: it learns to give the preferred one of two answers more, and so gives any answer a number.

Shapes: P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ropewalk.artifact import Part
from ropewalk.posttrain import RewardOptions
from ropewalk.posttrain.folder import write_adapter
from ropewalk.posttrain.judged import read_pairs
from ropewalk.posttrain.prefer import Item, Judged, begin, drawn_places, finish, sequences_of
from ropewalk.posttrain.scorer import all_scores, new_scorer, save_scorer, scores
from ropewalk.posttrain.sequences import answered, passes
from ropewalk.pretrain.loop import Learned

BINS = 10


def make_reward(options: RewardOptions, part: Part) -> dict[str, Any]:
    """Train on pairs, save the folder, and return the facts."""
    model, tokenizer = begin(options)
    items, margins = [], {}
    for pair in read_pairs(options.preferences):
        both = answered(tokenizer, pair.prompt, pair.chosen), answered(tokenizer, pair.prompt, pair.rejected)
        items.append(Item(pair.id, both))
        margins[pair.id] = pair.margin
    judged = Judged(items, options, context_tokens=model.config.context_tokens)
    scorer = new_scorer(model)
    longer_wins = by_length(judged.train) >= 0.5

    def step(number: int) -> Learned:
        places = drawn_places(judged, number, options)
        chosen = [judged.train[place] for place in places]
        sequences, margins_P = sequences_of(chosen), torch.tensor([margins[item.id] for item in chosen])
        value, given = 0.0, []
        for part in passes(scorer, sequences, together=2):
            scores_S = scores(scorer, sequences[part])
            pairs = slice(part.start // 2, part.stop // 2)
            losses_P = bradley_terry(scores_S, margins_P[pairs].to(scores_S.device), centering=options.centering)
            loss = losses_P.sum() / len(chosen)
            loss.backward()
            value += loss.item()
            given.append(scores_S.detach().cpu())
        return Learned(value, sum(len(one.ids) for one in sequences), figures(torch.cat(given)))

    def look() -> dict[str, float]:
        if not judged.held_back:
            return {}
        given_S = all_scores(scorer, sequences_of(judged.held_back))
        told = {**figures(given_S), "calibration_error": calibration_error(given_S)}
        share = by_length(judged.held_back)
        told["accuracy_by_length"] = share if longer_wins else 1 - share
        return {f"held_back/rewards/{name}": value for name, value in told.items()}

    def write() -> dict[str, Any]:
        save_scorer(scorer, options.model, part.folder)
        a_row_each = (scorer.config.vocabulary - 1) * scorer.config.width  # of a head that has only one
        return {"parameters": scorer.config.parameters - a_row_each, **write_adapter(scorer, part, score=True)}

    return finish(options, scorer, part, judged, learn=step, look=look, write=write)


def bradley_terry(scores_S: Tensor, margins_P: Tensor, *, centering: float) -> Tensor:
    """Minus the log-probability that the first of each two is preferred (Bradley & Terry 1952), (P,).

    margins_P: by how much more it should be given (Touvron et al. 2023, Llama 2, eq. 2). centering: weight of the square of
    the two scores' sum, which keeps scores around 0 (Eisenstein et al. 2023).
    """
    chosen_P, rejected_P = scores_S[::2], scores_S[1::2]
    losses_P = -functional.logsigmoid(chosen_P - rejected_P - margins_P)
    return losses_P + centering * (chosen_P + rejected_P).square() if centering else losses_P


def figures(scores_S: Tensor) -> dict[str, float]:
    """How often the preferred one is given more, by how much, and what is given at all."""
    margins_P = scores_S[::2] - scores_S[1::2]
    return {
        "accuracy": float((margins_P > 0).float().mean()),
        "margin": float(margins_P.mean()),
        "mean_reward": float(scores_S.mean()),
        "min_reward": float(scores_S.min()),
        "max_reward": float(scores_S.max()),
    }


def calibration_error(scores_S: Tensor) -> float:
    """How far stated probabilities are from how often they are right: the mean over pairs, in ten bins of equal width.

    Of each pair, the likelier order is looked at (Guo et al. 2017).
    """
    margins_P = scores_S[::2] - scores_S[1::2]
    stated_P, right_P = torch.sigmoid(margins_P.abs()), (margins_P > 0).float()
    bins_P = ((stated_P - 0.5) * 2 * BINS).long().clamp(max=BINS - 1)
    total = 0.0
    for number in range(BINS):
        inside = bins_P == number
        if inside.any():
            total += abs(float(stated_P[inside].sum() - right_P[inside].sum()))
    return total / len(margins_P)


def by_length(items: Sequence[Item]) -> float:
    """In what share of the pairs the preferred answer is the longer one; equal ones count half."""
    if not items:
        return 0.5
    differences = [item.both[0].tokens - item.both[1].tokens for item in items]
    return sum(0.5 if difference == 0 else float(difference > 0) for difference in differences) / len(items)
