"""Whole answers: their log-probabilities, and learning from an objective of those.

Answers are packed into rows as conversations are, none of which sees another; where neighbours answer the same prompt, it is
read once. An objective couples them (a pair's two, say), so the head is read twice: once for the log-probabilities, then
with the objective's slope at each answer as its tokens' weight. Hidden states are computed once.

Shapes: B rows, T time, S answers, N learned tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ropewalk.model.rows import states_and_targets
from ropewalk.model.sequences import Answered, packed
from ropewalk.model.transformer import Transformer
from ropewalk.tokenizer.chat import Message, render, render_prompt
from ropewalk.tokenizer.encoding import Tokenizer

# What the activations of one forward pass may take; gradients of several passes add up to those of one. Of SmolLM2-135M
PASS_BYTES = 1.5e9  # these are 1,049 tokens in float32
GPU_PASS_BYTES = 6e9  # and 8,394 in bfloat16


def answered(tokenizer: Tokenizer, prompt: Sequence[Message], answer: Sequence[Message]) -> Answered:
    """Render a conversation of which all that an assistant says in `answer` is learned, and nothing of `prompt`."""
    rendered = render(tokenizer, [*prompt, *answer])
    learned = np.array(rendered.loss_mask, np.bool_)
    learned[: len(render_prompt(tokenizer, prompt))] = False
    last = int(np.flatnonzero(learned)[-1]) + 1 if learned.any() else 0  # what follows the end token says nothing
    return Answered(np.array(rendered.ids[:last], np.int64), learned[:last])


def logprobs(model: Transformer, sequences: Sequence[Answered], *, barred: Tensor | None = None) -> Tensor:
    """The log-probability of each answer in nats (S,), float32, without gradient; `barred` ids have no probability."""
    with torch.no_grad():
        found = [_read(model, sequences[part], barred)[0] for part in passes(model, sequences)]
    return torch.cat(found)


def learn(model: Transformer, sequences: Sequence[Answered], objective: Callable[[Tensor], Tensor]) -> tuple[float, Tensor]:
    """Leave the gradient of `objective`, a function of the answers' log-probabilities (S,), in the weights.

    All in one pass. Returns the objective's value, and the log-probabilities without gradient.
    """
    sums_S, hidden_ND, targets_N, owner_N = _read(model, sequences)
    leaf_S = sums_S.detach().requires_grad_()
    value = objective(leaf_S)
    (slopes_S,) = torch.autograd.grad(value, leaf_S)
    surrogate, _ = model.loss(hidden_ND, targets_N, -slopes_S[owner_N])  # a token's loss is minus its log-probability
    surrogate.backward()
    return value.item(), sums_S.detach()


def pass_tokens(model: Transformer) -> int:
    """Most ids in one forward pass of this model where memory is not to be wasted."""
    on_gpu = model.lm_head.weight.device.type == "cuda"
    most_bytes, value_bytes = (GPU_PASS_BYTES, 2) if on_gpu else (PASS_BYTES, 4)
    return max(1, int(most_bytes / value_bytes / model.config.kept_values_per_token))


def passes(model: Transformer, sequences: Sequence[Answered], *, together: int = 1) -> Iterator[slice]:
    """Cut into passes of at most `pass_tokens` ids, without parting `together` neighbours."""
    start, tokens, most = 0, 0, pass_tokens(model)
    for place in range(0, len(sequences), together):
        size = sum(len(one.ids) for one in sequences[place : place + together])
        if tokens and tokens + size > most:
            yield slice(start, place)
            start, tokens = place, 0
        tokens += size
    if tokens:
        yield slice(start, len(sequences))


def _read(
    model: Transformer, sequences: Sequence[Answered], barred: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-probabilities (S,), and the hidden states, targets and owners of all learned tokens."""
    rows, owner = packed(sequences)
    hidden_ND, targets_N = states_and_targets(model, rows)
    owner_N = torch.from_numpy(owner).to(hidden_ND.device)
    with torch.no_grad():
        ones_N = torch.ones(len(targets_N), device=hidden_ND.device)
        _, losses_N = model.loss(hidden_ND, targets_N, ones_N, barred=barred)
    sums_S = torch.zeros(len(sequences), device=hidden_ND.device).index_add_(0, owner_N, -losses_N)
    return sums_S, hidden_ND, targets_N, owner_N
