"""How sure a model was of an answer, from the probabilities of its tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

LOW_CONFIDENCE = 0.7  # flags 78 of a demo's 89 wrong answers and 2.5% of the right ones; 0.5: 69 and 1.8% (LOG.md)


def confidence(token_logprobs: Sequence[float]) -> float:
    """The smallest token probability of an answer, 0 to 1: a fact is as doubtful as its most doubtful token.

    `token_logprobs` are nats under the model's own distribution, the stop token's among them. An answer without tokens
    has confidence 0.
    """
    return math.exp(min(token_logprobs, default=-math.inf))
