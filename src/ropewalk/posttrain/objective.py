"""What an answer's tokens are worth, and the clipped policy objective: pure functions of tensors.

Shapes: P prompts, S samples of each, T tokens of one answer, N tokens to be learned.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def advantages(rewards_PS: Tensor, *, scale: bool) -> Tensor:
    """How much better each answer is than the mean of its group (Shao et al. 2024), (P, S); 0 where all earned the same.

    scale: divide by the group's standard deviation, as that paper does; it favours questions that are almost always or
        almost never answered (Liu et al. 2025), and is left out by default.
    """
    # A mean of equal rewards may be off in the last bit, and a trace of an advantage costs a whole forward pass.
    centred_PS = (rewards_PS - rewards_PS.mean(dim=1, keepdim=True)).masked_fill(all_equal(rewards_PS)[:, None], 0.0)
    return centred_PS / (rewards_PS.std(dim=1, keepdim=True) + 1e-4) if scale else centred_PS


def all_equal(rewards_PS: Tensor) -> Tensor:
    """Which groups earned the same with every answer, (P,): there is nothing to learn from them."""
    return (rewards_PS == rewards_PS[:, :1]).all(dim=1)


def generalized_advantages(rewards_T: Tensor, values_T: Tensor, *, discount: float, trace_decay: float) -> Tensor:
    """How much better each token of an answer was than its value promised, (T,) (Schulman et al. 2016, eq. 16).

    rewards_T: what each token earned; values_T: what was expected from it on. Behind the last token nothing is earned.
    """
    surprises_T = rewards_T - values_T
    surprises_T[:-1] += discount * values_T[1:]
    found, later = [], 0.0
    for surprise in reversed(surprises_T.tolist()):
        later = surprise + discount * trace_decay * later
        found.append(later)
    return torch.tensor(found[::-1], dtype=rewards_T.dtype, device=rewards_T.device)


def value_loss(values_N: Tensor, old_N: Tensor, returns_N: Tensor, *, clip: float) -> Tensor:
    """Half the squared error of each value (N,), which gains nothing by moving further than `clip` from the old one."""
    held_N = old_N + (values_N - old_N).clamp(-clip, clip)
    return torch.maximum((values_N - returns_N).square(), (held_N - returns_N).square()) / 2


@dataclass(frozen=True)
class Clip:
    """How far a token's probability may move by one batch of answers, down and up, and the cap of importance weights."""

    low: float
    high: float
    importance_cap: float

    def ratios(self, logprobs_N: Tensor, old_N: Tensor) -> tuple[Tensor, Tensor]:
        """The policy's probabilities over those it had when the answers came in, plain and clipped."""
        ratios_N = (logprobs_N - old_N).exp()
        return ratios_N, ratios_N.clamp(1 - self.low, 1 + self.high)

    def importance(self, old_N: Tensor, rollout_N: Tensor) -> Tensor:
        """The trainer's probabilities over the engine's for the same weights, truncated above (Yao et al. 2025)."""
        return (old_N - rollout_N).exp().clamp(max=self.importance_cap)


def policy_loss(logprobs_N: Tensor, old_N: Tensor, rollout_N: Tensor, advantages_N: Tensor, clip: Clip) -> Tensor:
    """What is to be minimised for each token (N,): minus the smaller of plain and clipped ratio times advantage.

    All log-probabilities in nats: `logprobs_N` of the policy now, `old_N` of the trainer when the answers came in,
    `rollout_N` of the engine that sampled them. Schulman et al. 2017 with bounds of their own up and down (Yu et al. 2025).
    """
    plain_N, clipped_N = clip.ratios(logprobs_N, old_N)
    return -clip.importance(old_N, rollout_N) * torch.minimum(plain_N * advantages_N, clipped_N * advantages_N)


def policy_slope(logprobs_N: Tensor, old_N: Tensor, rollout_N: Tensor, advantages_N: Tensor, clip: Clip) -> Tensor:
    """The slope of `policy_loss` in each token's loss, that is in minus its log-probability (N,).

    A test holds it to what autograd makes of `policy_loss`.
    """
    ratios_N, _ = clip.ratios(logprobs_N, old_N)
    held_N = torch.where(advantages_N > 0, ratios_N > 1 + clip.high, ratios_N < 1 - clip.low)
    return clip.importance(old_N, rollout_N) * ratios_N * advantages_N * ~held_N
