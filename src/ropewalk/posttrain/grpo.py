"""Group-relative policy optimisation: answers that beat the others to their question become likelier.

Without a value model, and with a reference model only where moving away from it is to cost something. Answers of groups
that all earned the same have no gradient, and are never put through the trainer: their tokens count in a batch's mean all
the same.

With a teacher, what a token earns is how much more probable it is to the teacher than to the model: on its own answers the
model comes to say what the teacher would (on-policy distillation; Agarwal et al. 2024, GKD; Lu et al. 2025). The mean of
that is minus the divergence KL(model || teacher), and its gradient, token by token, is that of this objective.

Shapes: P prompts, S samples of each, N answer tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ropewalk.artifact import Part
from ropewalk.engine.remote import scores_from
from ropewalk.model.lora import adapters_off
from ropewalk.posttrain import GrpoOptions
from ropewalk.posttrain.objective import advantages, all_equal
from ropewalk.posttrain.practice import Practice, practise, sampling_figures
from ropewalk.posttrain.rollout import Answer, AnswerRows, answer_rows
from ropewalk.posttrain.sequences import logprobs
from ropewalk.runtime.errors import InputError


def make_grpo(options: GrpoOptions, part: Part) -> dict[str, Any]:
    """Train, save the folder, and return the facts."""
    return practise(options, part, Trainer)


class Trainer(Practice):
    """Advantages over the mean of a group, or of a teacher's probabilities over the model's."""

    options: GrpoOptions

    def take(self, groups: Sequence[Sequence[Answer]]) -> None:
        """Learn from these answers, the samples of each prompt together, until others come."""
        options = self.options
        rewards_PS = torch.tensor([[answer.reward for answer in group] for group in groups])
        moved_PS = self._moved(groups)
        advantages_PS = advantages(rewards_PS - options.kl_weight * moved_PS, scale=options.scale_advantages)
        pairs = [
            (answer, advantage)
            for group, row in zip(groups, advantages_PS.tolist(), strict=True)
            for answer, advantage in zip(group, row, strict=True)
            if not (options.mask_truncated and answer.generation.finish == "length")
        ]
        self.tokens = sum(len(answer.generation.ids) for answer, _ in pairs)
        learned = [(answer, advantage) for answer, advantage in pairs if advantage != 0 or options.teacher]
        self.batch = list(answer_rows(self.engine.model, learned))
        self.old = []
        self.figures = {
            **sampling_figures([answer for group in groups for answer in group]),
            "reward_std": float(rewards_PS.std(dim=1).mean()),
            "frac_reward_zero_std": float(all_equal(rewards_PS).float().mean()),
        }
        if self.reference is not None:
            self.figures["kl"] = float(moved_PS.mean())
        if options.teacher and self.batch:
            self.batch = [replace(rows, advantages_N=self._taught(rows)) for rows in self.batch]
            self.figures["teacher_kl"] = -float(torch.cat([rows.advantages_N for rows in self.batch]).mean())

    def _taught(self, rows: AnswerRows) -> Tensor:
        """By how much more probable each token is to the teacher than it was to the model, in nats (N,)."""
        sequences = [answer.sequence for answer in rows.answers]
        scores = scores_from(self.options.teacher, self.options.teacher_model, [one.ids.tolist() for one in sequences])
        taught = []
        for sequence, scored in zip(sequences, scores, strict=True):
            self._check_tokens(sequence.ids.tolist(), [token for token, _ in scored])
            taught += [logprob for (_, logprob), learned in zip(scored, sequence.learned, strict=True) if learned]
        return torch.tensor(taught, device=rows.rollout_N.device) - rows.rollout_N

    def _check_tokens(self, ids: Sequence[int], told: Sequence[str]) -> None:
        """Raise InputError for a teacher to whom these ids are other tokens.

        Compared are letters and digits: servers write spaces and broken characters each in their way.
        """
        own = [self.engine.tokenizer.token(token_id).decode("utf-8", "replace").strip() for token_id in ids]
        plain = [(one, other) for one, other in zip(own, told, strict=True) if one.isascii() and one.isalnum()]
        if any(one not in other for one, other in plain):
            raise InputError(
                f"{self.options.teacher_model} has other tokens than the model: take a teacher with the same tokenizer"
            )

    def _moved(self, groups: Sequence[Sequence[Answer]]) -> Tensor:
        """By how much likelier than to the reference each answer is, in nats (P, S); the mean is the divergence from it."""
        if self.reference is None:
            return torch.zeros(len(groups), len(groups[0]))
        answers = [answer for group in groups for answer in group]
        sequences = [answer.sequence for answer in answers]
        with adapters_off(self.reference):
            before = logprobs(self.reference, sequences, barred=self.engine.banned).cpu()
        now = torch.tensor([sum(answer.generation.logprobs) for answer in answers])
        return (now - before).view(len(groups), -1)
