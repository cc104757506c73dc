"""Choose the next token.

Shapes: B sequences, C those of them whose distribution is cut, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.engine.grammar import Grammar
from ropewalk.model import loops
from ropewalk.runtime.errors import OptionError


@dataclass(frozen=True)
class Sampling:
    """How one request chooses its tokens, when it ends, and what is told of them.

    temperature: 0 is greedy. top_k: 0 is all. min_p: the least probability, as a fraction of the most probable token's.
    seed: decides every draw; two requests that should differ need two seeds.
    stop: strings that end the text, before them. top_logprobs: how many of the most probable tokens to name beside each.
    repetition_penalty, presence_penalty, frequency_penalty, logit_bias: see `weighing`; a bias is an id and what is added.
    grammar: what the text must match. prompt_logprobs: tell how probable the prompt's own tokens are, too.
    """

    max_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    grammar: Grammar | None = None
    prompt_logprobs: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise OptionError(f"{self}: max_tokens must be >= 1, temperature >= 0, top_k >= 0 and top_p in (0, 1]")
        if self.top_logprobs < 0 or not all(self.stop):
            raise OptionError(f"{self}: top_logprobs must be >= 0, and no stop string may be empty")
        if not 0 <= self.min_p <= 1 or self.repetition_penalty < 0.01:  # scores are divided by it, in float32
            raise OptionError(f"{self}: min_p must be in [0, 1] and repetition_penalty >= 0.01")

    @property
    def plain(self) -> bool:
        """Whether temperature alone decides, and of its token's place nothing else is told."""
        cut = self.top_k > 0 or self.top_p < 1 or self.min_p > 0
        return not (cut or self.weighs or self.top_logprobs or self.grammar)

    @property
    def weighs(self) -> bool:
        """Whether penalties or biases change the scores."""
        return (
            self.repetition_penalty != 1
            or self.presence_penalty != 0
            or self.frequency_penalty != 0
            or bool(self.logit_bias)
        )


def choose(logits_BV: Tensor, samplings: list[Sampling], draws_B: Tensor) -> Tensor:
    """The next token id of each sequence, (B,).

    `draws_B` are uniform numbers in [0, 1), one a sequence: the token is where the cumulative distribution passes the draw,
    so what is batched beside a sequence changes its text through the rounding of its logits alone.
    """
    greedy_B, device = logits_BV.argmax(dim=1), logits_BV.device
    if not any(sampling.temperature for sampling in samplings):
        return greedy_B
    knobs = [(one.temperature, one.min_p, one.top_p, one.top_k or logits_BV.shape[1]) for one in samplings]
    temperature_B1, min_p_B1, top_p_B1, top_k_B1 = torch.tensor(knobs).to(device).split(1, dim=1)
    weights_BV = (logits_BV / temperature_B1.clamp(min=1e-6)).softmax(dim=1)
    if any(sampling.min_p for sampling in samplings):
        # What goes is less probable than all that stays, so the sums that top-p looks at below do not change.
        weights_BV = weights_BV * (weights_BV >= min_p_B1 * weights_BV.amax(dim=1, keepdim=True))
    draws_B = draws_B.to(device)
    sampled_B = _draw(weights_BV, draws_B)
    if cut := [row for row, sampling in enumerate(samplings) if sampling.top_k > 0 or sampling.top_p < 1]:
        cut_C = torch.tensor(
            cut, device=device
        )  # the others are spared the sort, which costs more than a small model's step
        sorted_CV, order_CV = weights_BV[cut_C].sort(dim=1, descending=True, stable=True)
        before_CV = sorted_CV.cumsum(dim=1) - sorted_CV
        ranks_V = torch.arange(logits_BV.shape[1], device=device)
        kept_CV = torch.where((ranks_V < top_k_B1[cut_C]) & ((before_CV < top_p_B1[cut_C]) | (ranks_V == 0)), sorted_CV, 0.0)
        sampled_B[cut_C] = order_CV.gather(1, _draw(kept_CV, draws_B[cut_C])[:, None])[:, 0]
    return torch.where(temperature_B1[:, 0] == 0, greedy_B, sampled_B)


def draw_plainly(logits_BV: Tensor, banned: Tensor, samplings: list[Sampling], draws_B: Tensor) -> tuple[Tensor, Tensor]:
    """`choose` among all but `banned` where every sampling is plain, and log-probabilities: in a loop, on a CPU, (B,) each.

    The banned ones' logits are overwritten.
    """
    temperature_B = torch.tensor([sampling.temperature for sampling in samplings])
    ids_B, logprobs_B = torch.empty(len(samplings), dtype=torch.long), torch.empty(len(samplings))
    loops.use_threads()
    tensors = (logits_BV.contiguous(), banned, temperature_B, draws_B, ids_B, logprobs_B)
    loops.draw(*(tensor.numpy() for tensor in tensors))
    return ids_B, logprobs_B


def _draw(weights_BV: Tensor, draws_B: Tensor) -> Tensor:
    """Where each row's running sum passes its draw, (B,); never a column of weight 0, however sums and draws are rounded.

    Where rounding leads to one, past all weights or, as a GPU sums in parallel, between them, the likeliest is taken.
    """
    sums_BV = weights_BV.cumsum(dim=1)
    columns_B1 = torch.searchsorted(sums_BV, draws_B[:, None] * sums_BV[:, -1:], right=True).clamp(max=sums_BV.shape[1] - 1)
    weighs_B1 = weights_BV.gather(1, columns_B1) > 0
    return torch.where(weighs_B1, columns_B1, weights_BV.argmax(dim=1, keepdim=True))[:, 0]
