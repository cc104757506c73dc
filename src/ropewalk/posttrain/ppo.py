"""Proximal policy optimisation (Schulman et al. 2017; Ouyang et al. 2022): a token is worth what it adds to a value.

A value head of one row on the model itself says what an answer may still earn; the differences between what it promised and
what came, traced back over the answer, are its tokens' advantages. Moving away from the model as it came costs something
with every token. The head starts at 0 and is not kept: what is left behind is a model as any other.

Shapes: N answer tokens, T tokens of one answer, D model width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ropewalk.artifact import Part
from ropewalk.model.lora import adapters_off
from ropewalk.model.rows import states_and_targets
from ropewalk.model.transformer import Linear, Transformer
from ropewalk.posttrain import PpoOptions
from ropewalk.posttrain.objective import generalized_advantages, value_loss
from ropewalk.posttrain.practice import Practice, practise, sampling_figures
from ropewalk.posttrain.rollout import Answer, AnswerRows, answer_rows


def make_ppo(options: PpoOptions, part: Part) -> dict[str, Any]:
    """Train, save the folder, and return the facts."""
    return practise(options, part, Trainer)


class Trainer(Practice):
    """Advantages over what the value head expected."""

    options: PpoOptions

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        model = self.engine.model
        self.head = Linear(model.config.width, 1, bias=False, device=model.lm_head.weight.device)
        torch.nn.init.zeros_(self.head.weight)
        model.add_module("value_head", self.head)  # so that the loop trains and saves it
        self.values: list[Tensor] = []  # (N,) of each of the batch's rows, when the answers came in
        self.returns: list[Tensor] = []

    def take(self, groups: Sequence[Sequence[Answer]]) -> None:
        """Note each token's value as it is now, and how much better it was, over the batch."""
        answers = [answer for group in groups for answer in group]
        self.tokens = sum(len(answer.generation.ids) for answer in answers)
        batch = list(answer_rows(self.engine.model, [(answer, 0.0) for answer in answers]))
        advantages, moved = [], []
        self.old, self.values, self.returns = [], [], []
        for rows in batch:
            logprobs_N, values_N = self._read(rows)
            moved_N = logprobs_N - self._reference_logprobs(rows) if self.reference else torch.zeros_like(logprobs_N)
            advantages_N = self._advantages(rows, values_N, moved_N)
            advantages.append(advantages_N)
            moved.append(moved_N)
            self.values.append(values_N)
            self.returns.append(advantages_N + values_N)
        mean, deviation = torch.cat(advantages).mean(), torch.cat(advantages).std(correction=0)
        self.batch = [
            replace(rows, advantages_N=(own_N - mean) / (deviation + 1e-8))
            for rows, own_N in zip(batch, advantages, strict=True)
        ]
        returns_N = torch.cat(self.returns)
        errors_N = returns_N - torch.cat(self.values)
        self.figures = {
            **sampling_figures(answers),
            "kl": float(torch.cat(moved).sum() / len(answers)),
            "value/explained_variance": float(1 - errors_N.var(correction=0) / (returns_N.var(correction=0) + 1e-8)),
        }

    def beside(self, hidden_ND: Tensor, number: int) -> Tensor:
        """The value head's loss, as the mean over all tokens."""
        values_N = self._values(hidden_ND)
        losses_N = value_loss(values_N, self.values[number], self.returns[number], clip=self.options.value_clip)
        return self.options.value_weight * losses_N.sum() / self.tokens

    def _advantages(self, rows: AnswerRows, values_N: Tensor, moved_N: Tensor) -> Tensor:
        """How much better each token was than its value, where moving from the reference costs and the end earns (N,)."""
        lengths = [len(answer.generation.ids) for answer in rows.answers]
        costs = (-self.options.kl_weight * moved_N).split(lengths)
        found = []
        for answer, rewards_T, values_T in zip(rows.answers, costs, values_N.split(lengths), strict=True):
            rewards_T[-1] += answer.reward
            found.append(
                generalized_advantages(
                    rewards_T, values_T, discount=self.options.discount, trace_decay=self.options.trace_decay
                )
            )
        return torch.cat(found)

    @torch.no_grad()
    def _read(self, rows: AnswerRows) -> tuple[Tensor, Tensor]:
        """The log-probability and the value of each target (N,), by the weights as they are."""
        model = self.engine.model
        hidden_ND, targets_N = states_and_targets(model, rows.rows)
        return self._logprobs(model, hidden_ND, targets_N), self._values(hidden_ND)

    @torch.no_grad()
    def _reference_logprobs(self, rows: AnswerRows) -> Tensor:
        assert self.reference is not None
        with adapters_off(self.reference):
            return self._logprobs(self.reference, *states_and_targets(self.reference, rows.rows))

    def _logprobs(self, model: Transformer, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
        _, losses_N = model.loss(
            hidden_ND, targets_N, torch.ones_like(targets_N, dtype=torch.float32), barred=self.engine.banned
        )
        return -losses_N

    def _values(self, hidden_ND: Tensor) -> Tensor:
        """What is expected from each state on (N,), float32."""
        return self.head(hidden_ND)[:, 0].float()
