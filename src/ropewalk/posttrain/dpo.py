"""Direct preference optimisation: of two answers, the preferred one becomes likelier than it was, beside the other."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ropewalk.artifact import Part
from ropewalk.posttrain import DpoOptions
from ropewalk.posttrain.judged import read_pairs
from ropewalk.posttrain.prefer import Item, Judged, Reference, begin, drawn_places, finish, learn_judged, sequences_of
from ropewalk.posttrain.preference import BETAS, PAIR_LOSSES, Said, reward_figures
from ropewalk.posttrain.sequences import answered
from ropewalk.pretrain.loop import Learned


def make_dpo(options: DpoOptions, part: Part) -> dict[str, Any]:
    """Train on pairs, save the folder, and return the facts."""
    model, tokenizer = begin(options)
    items = [
        Item(pair.id, (answered(tokenizer, pair.prompt, pair.chosen), answered(tokenizer, pair.prompt, pair.rejected)))
        for pair in read_pairs(options.preferences)
    ]
    judged = Judged(items, options, context_tokens=model.config.context_tokens)
    reference = Reference(model, judged, part)
    beta = options.beta or BETAS[options.loss]

    def loss(said: Said, part: slice) -> Tensor:
        return pair_losses(said, options, beta).sum()

    def step(number: int) -> Learned:
        places = drawn_places(judged, number, options)
        sequences = sequences_of([judged.train[place] for place in places])
        value, said = learn_judged(model, sequences, reference.of(places), loss, together=2, count=len(places))
        return Learned(value, sum(len(one.ids) for one in sequences), reward_figures(*sides(said), beta))

    def look() -> dict[str, float]:
        if not judged.held_back:
            return {}
        told = reward_figures(*sides(reference.held_back(model)), beta)
        return {f"held_back/{name}": value for name, value in told.items() if name.startswith("rewards/")}

    return finish(options, model, part, judged, learn=step, look=look)


def sides(said: Said) -> tuple[Said, Said]:
    """The preferred answers and the others."""
    return said.at(slice(0, None, 2)), said.at(slice(1, None, 2))


def pair_losses(said: Said, options: DpoOptions, beta: float) -> Tensor:
    """The objective of each pair. With label smoothing e, a pair is taken to be turned round with probability e."""
    chosen, rejected = sides(said)
    objective, e = PAIR_LOSSES[options.loss], options.label_smoothing
    losses_P = objective(chosen, rejected, beta)
    return losses_P if e == 0 else (1 - e) * losses_P + e * objective(rejected, chosen, beta)
