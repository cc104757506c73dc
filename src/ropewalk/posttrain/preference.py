"""What a preference is worth, as pure functions of the log-probabilities of whole answers.

Every objective takes what the policy and the reference (the model it began from) give each answer, as `Said`, and is to be
minimised. Rewards, as everybody logs them, are beta x (policy - reference).

Shapes: P pairs, or lone answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

PairLoss = Literal["sigmoid", "sigmoid_norm", "ipo"]
BETAS: dict[PairLoss, float] = {"sigmoid": 0.1, "sigmoid_norm": 5.0, "ipo": 0.1}


@dataclass(frozen=True)
class Said:
    """Answers' log-probabilities in nats, summed over their learned tokens (P,), and how many tokens those are (P,)."""

    policy_P: Tensor
    reference_P: Tensor
    tokens_P: Tensor

    def at(self, chosen: slice) -> Said:
        """Some of them."""
        return Said(self.policy_P[chosen], self.reference_P[chosen], self.tokens_P[chosen])

    @property
    def gains(self) -> Tensor:
        """By how much likelier than to the reference each answer is."""
        return self.policy_P - self.reference_P

    @property
    def mean_gains(self) -> Tensor:
        """The same per token."""
        return self.gains / self.tokens_P


def sigmoid(chosen: Said, rejected: Said, beta: float) -> Tensor:
    """DPO (Rafailov et al. 2023, eq. 7): a logistic regression on the difference of the two gains."""
    return -functional.logsigmoid(beta * (chosen.gains - rejected.gains))


def sigmoid_norm(chosen: Said, rejected: Said, beta: float) -> Tensor:
    """The same with gains per token (Lambert et al. 2024, Tulu 3, section 5): long answers have no head start."""
    return -functional.logsigmoid(beta * (chosen.mean_gains - rejected.mean_gains))


def ipo(chosen: Said, rejected: Said, beta: float) -> Tensor:
    """A margin to reach and not to pass (Azar et al. 2024, eq. 17), per token."""
    return (chosen.mean_gains - rejected.mean_gains - 1 / (2 * beta)).square()


PAIR_LOSSES: dict[PairLoss, Callable[[Said, Said, float], Tensor]] = {
    "sigmoid": sigmoid,
    "sigmoid_norm": sigmoid_norm,
    "ipo": ipo,
}


def kto(
    said: Said, good_P: Tensor, baseline: float | Tensor, beta: float, *, good_weight: float, bad_weight: float
) -> Tensor:
    """Each answer by itself against what answers gain anyway (Ethayarajh et al. 2024, eq. 8).

    good_P: whether it was liked. baseline: `kto_baseline`, without gradient.
    """
    signs_P = good_P.to(said.policy_P.dtype) * 2 - 1
    weights_P = torch.where(good_P, good_weight, bad_weight)
    return weights_P * (1 - torch.sigmoid(signs_P * beta * (said.gains - baseline)))


def kto_baseline(mismatched: Said) -> Tensor:
    """How far the policy has moved: the mean gain of answers put behind other questions, 0 where it is below. ()."""
    return mismatched.gains.mean().clamp(min=0).detach()


def reward_figures(chosen: Said, rejected: Said, beta: float) -> dict[str, float]:
    """What is logged of pairs, under the usual names."""
    good_P, bad_P = beta * chosen.gains, beta * rejected.gains
    return {
        "rewards/chosen": float(good_P.mean()),
        "rewards/rejected": float(bad_P.mean()),
        "rewards/margins": float((good_P - bad_P).mean()),
        "rewards/accuracies": float((good_P > bad_P).float().mean()),
        "logps/chosen": float(chosen.policy_P.mean()),
        "logps/rejected": float(rejected.policy_P.mean()),
    }
