"""Penalties and biases: what a request's own text and wishes do to the scores of its next token.

Shapes: B sequences, V vocabulary, N pairs of a sequence and a token that it weighs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ropewalk.engine.sampling import Sampling


class Weighing:
    """The tokens whose scores one request changes: those it has read or made, and those that it gives a bias.

    So the work of a step grows with the different tokens of a text, and not with the vocabulary.
    """

    def __init__(self, prompt: Sequence[int], sampling: Sampling, *, most_tokens: int) -> None:
        """`most_tokens` is how many the request can make: room for them is taken at once."""
        self.sampling = sampling
        read, bias = set(prompt), dict(sampling.logit_bias)
        known = sorted(read | bias.keys())
        self._places = {token_id: place for place, token_id in enumerate(known)}
        room = len(known) + most_tokens
        self._ids_N, self._made_N = np.zeros(room, dtype=np.int64), np.zeros(room, dtype=np.float32)
        self._met_N, self._bias_N = np.zeros(room, dtype=bool), np.zeros(room, dtype=np.float32)
        self._ids_N[: len(known)] = known
        self._met_N[: len(known)] = [token_id in read for token_id in known]
        self._bias_N[: len(known)] = [bias.get(token_id, 0.0) for token_id in known]

    def push(self, token_id: int) -> None:
        """Count a token that the request has made."""
        place = self._places.setdefault(token_id, len(self._places))
        self._ids_N[place] = token_id
        self._made_N[place] += 1
        self._met_N[place] = True

    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Ids, factors for positive scores, factors for negative ones, and what is added, (N,) each."""
        count = len(self._places)
        made_N, sampling = self._made_N[:count], self.sampling
        over_N = np.where(self._met_N[:count], np.float32(sampling.repetition_penalty), np.float32(1))
        presence_N, frequency_N = sampling.presence_penalty * (made_N > 0), sampling.frequency_penalty * made_N
        added_N = (self._bias_N[:count] - presence_N - frequency_N).astype(np.float32)
        return self._ids_N[:count], 1 / over_N, over_N, added_N


def weighed(logits_BV: Tensor, weighings: Mapping[int, Weighing]) -> Tensor:
    """The scores with the penalties and biases of the rows that have some; without any, the very same tensor.

    Repetition divides positive scores and multiplies negative ones (Keskar et al. 2019, section 4.1), of tokens in prompt
    and answer alike. Presence and frequency are taken off those in the answer, as OpenAI's; biases are added.
    """
    if not weighings:
        return logits_BV
    columns, device = [weighing.columns() for weighing in weighings.values()], logits_BV.device
    rows_N = torch.from_numpy(np.repeat(list(weighings), [len(ids_N) for ids_N, *_ in columns])).to(device)
    ids_N, positive_N, negative_N, added_N = (
        torch.from_numpy(np.concatenate(parts)).to(device) for parts in zip(*columns, strict=True)
    )
    scores_N = logits_BV[rows_N, ids_N]
    changed_N = scores_N * torch.where(scores_N > 0, positive_N, negative_N) + added_N
    return logits_BV.index_put((rows_N, ids_N), changed_N)
