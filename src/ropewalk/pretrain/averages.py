"""What a run ends with in place of its last weights, if it is asked to."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ropewalk.model.transformer import Transformer


class Averages:
    """Averages over the steps of a member, and over members.

    A moving average over the steps, of which the first are a plain mean; and the mean of where members ended that began
    alike (Wortsman et al. 2022, "Model soups"). Runs over data in another order differ by chance, their means less so.
    """

    def __init__(self, model: Transformer, *, steps: int, members: int, decay: float | None) -> None:
        self.steps, self.members, self.decay = steps, members, decay
        averaged = named(model) if members > 1 or decay is not None else {}
        copies = {name: weight.clone() for name, weight in averaged.items()}
        self.start = copies if members > 1 else {}
        self.moving = {name: weight.clone() for name, weight in copies.items()} if decay is not None else {}
        self.mean = {name: torch.zeros_like(weight) for name, weight in copies.items()} if members > 1 else {}

    def begin_member(self, model: Transformer) -> None:
        """Put the weights back to where all members begin."""
        _put(model, self.start)

    def follow(self, model: Transformer, step: int) -> None:
        """Take in the weights as they are after `step`; where a member ends, put its average in their place."""
        member, within = divmod(step, self.steps)
        if self.decay is not None:
            share = 1 - min(self.decay, within / (within + 1))
            for name, weight in named(model).items():
                self.moving[name].lerp_(weight, share)
        if within + 1 < self.steps:
            return
        _put(model, self.moving)
        if self.members > 1:
            for name, weight in named(model).items():
                self.mean[name].lerp_(weight, 1 / (member + 1))
            if member + 1 == self.members:
                _put(model, self.mean)

    def state(self) -> dict[str, Tensor]:
        """What a run that carries on needs to know."""
        kinds = {"moving": self.moving, "mean": self.mean}
        return {f"{kind}.{name}": tensor for kind, tensors in kinds.items() for name, tensor in tensors.items()}


def named(model: Transformer) -> dict[str, Tensor]:
    """The weights that are trained by name, without their gradients: none that is frozen."""
    return {name: weight.data for name, weight in model.named_parameters() if weight.requires_grad}


def _put(model: Transformer, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into the model, by which an engine sees that they changed; none are none to copy."""
    with torch.no_grad():
        for name, weight in weights.items():
            model.get_parameter(name).copy_(weight)
