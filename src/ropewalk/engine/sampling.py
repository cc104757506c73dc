"""Choose the next token.

Shapes: B sequences, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.runtime.errors import OptionError


@dataclass(frozen=True)
class Sampling:
    """How one request chooses its tokens, and when it ends.

    temperature: 0 is greedy. top_k: 0 is all. seed: decides every draw; two requests that should differ need two seeds.
    """

    max_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise OptionError(f"{self}: max_tokens must be >= 1, temperature >= 0, top_k >= 0 and top_p in (0, 1]")


def choose(logits_BV: Tensor, samplings: list[Sampling], draws_B: Tensor) -> Tensor:
    """The next token id of each sequence, (B,).

    `draws_B` are uniform numbers in [0, 1), one a sequence: the token is where the cumulative distribution passes the draw,
    so what is batched beside a sequence changes its text through the rounding of its logits alone.
    """
    greedy_B = logits_BV.argmax(dim=1)
    temperature_B1 = torch.tensor([sampling.temperature for sampling in samplings])[:, None]
    if not temperature_B1.any():
        return greedy_B
    top_k_B1 = torch.tensor([sampling.top_k or logits_BV.shape[1] for sampling in samplings])[:, None]
    top_p_B1 = torch.tensor([sampling.top_p for sampling in samplings])[:, None]
    scaled_BV = logits_BV / temperature_B1.clamp(min=1e-6)
    sorted_BV, order_BV = scaled_BV.softmax(dim=1).sort(dim=1, descending=True, stable=True)
    before_BV = sorted_BV.cumsum(dim=1) - sorted_BV
    ranks_V = torch.arange(logits_BV.shape[1])
    kept_BV = torch.where((ranks_V < top_k_B1) & ((before_BV < top_p_B1) | (ranks_V == 0)), sorted_BV, 0.0)
    cumulative_BV = kept_BV.cumsum(dim=1)
    places_B1 = torch.searchsorted(cumulative_BV, draws_B[:, None] * cumulative_BV[:, -1:], right=True)
    last_kept_B1 = (kept_BV > 0).sum(dim=1, keepdim=True) - 1
    sampled_B = order_BV.gather(1, places_B1.minimum(last_kept_B1))[:, 0]
    return torch.where(temperature_B1[:, 0] == 0, greedy_B, sampled_B)
