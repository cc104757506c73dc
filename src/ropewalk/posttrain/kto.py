"""Kahneman-Tversky optimisation: answers that were liked become likelier than answers become anyway, disliked ones less so.

What answers gain anyway is measured on answers put behind other prompts than their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ropewalk.artifact import Part
from ropewalk.posttrain import KtoOptions
from ropewalk.posttrain.judged import Thumb, read_thumbs
from ropewalk.posttrain.prefer import Item, Judged, Reference, begin, drawn_places, finish, learn_judged, tokens_of
from ropewalk.posttrain.preference import Said, kto, kto_baseline
from ropewalk.posttrain.sequences import answered, logprobs
from ropewalk.pretrain.loop import Learned

OWN, ELSEWHERE = slice(0, None, 2), slice(1, None, 2)


def make_kto(options: KtoOptions, part: Part) -> dict[str, Any]:
    """Train on lone judged answers, save the folder, and return the facts."""
    model, tokenizer = begin(options)
    thumbs = read_thumbs(options.judged)
    items = []
    for thumb, other in zip(thumbs, from_elsewhere(thumbs), strict=True):
        both = answered(tokenizer, thumb.prompt, thumb.answer), answered(tokenizer, thumb.prompt, other.answer)
        items.append(Item(thumb.id, both))
    good = {thumb.id: thumb.good for thumb in thumbs}
    judged = Judged(items, options, context_tokens=model.config.context_tokens)
    reference = Reference(model, judged, part)

    def step(number: int) -> Learned:
        places = drawn_places(judged, number, options)
        chosen, reference_S = [judged.train[place] for place in places], reference.of(places)
        elsewhere = [item.both[1] for item in chosen]
        baseline = kto_baseline(Said(logprobs(model, elsewhere).cpu(), reference_S[ELSEWHERE], tokens_of(elsewhere)))
        good_P = torch.tensor([good[item.id] for item in chosen])

        def loss(said: Said, part: slice) -> Tensor:
            device = said.policy_P.device
            weights = {"good_weight": options.good_weight, "bad_weight": options.bad_weight}
            return kto(said, good_P[part].to(device), baseline.to(device), options.beta, **weights).sum()

        own = [item.both[0] for item in chosen]
        value, said = learn_judged(model, own, reference_S[OWN], loss, together=1, count=len(places))
        read = sum(len(one.ids) for item in chosen for one in item.both)
        return Learned(value, read, {**_figures(said, good_P, options.beta), "kl": float(baseline)})

    def look() -> dict[str, float]:
        if not judged.held_back:
            return {}
        said = reference.held_back(model)
        told = _figures(said.at(OWN), torch.tensor([good[item.id] for item in judged.held_back]), options.beta)
        return {f"held_back/{name}": value for name, value in told.items()}

    return finish(options, model, part, judged, learn=step, look=look)


def from_elsewhere(thumbs: Sequence[Thumb]) -> list[Thumb]:
    """For each judged answer one that was given to another prompt, unless over half of all have the same.

    In the order of prompts, it is the one as many places on as the most frequent prompt has answers.
    """
    prompts = [repr(thumb.prompt) for thumb in thumbs]
    order = sorted(range(len(thumbs)), key=prompts.__getitem__)
    shift = max(1, max(Counter(prompts).values()) % len(thumbs))
    other = {order[place]: order[(place + shift) % len(order)] for place in range(len(order))}
    return [thumbs[other[place]] for place in range(len(thumbs))]


def _figures(said: Said, good_P: Tensor, beta: float) -> dict[str, float]:
    """The mean rewards of liked and of disliked answers, where there are any."""
    rewards_P = beta * said.gains.cpu()
    groups = {"rewards/chosen": rewards_P[good_P], "rewards/rejected": rewards_P[~good_P]}
    return {name: float(group.mean()) for name, group in groups.items() if len(group)}
