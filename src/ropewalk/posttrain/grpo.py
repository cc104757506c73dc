"""Group-relative policy optimisation: answers that beat the others to their question become likelier.

Rewards come from the right answers of tasks, or from a reward model. Without a value model, and with a reference model only
where moving away from it is to cost something. A batch's loss is the mean over all tokens of all its answers (Yu et al.
2025, DAPO), so long answers are not favoured; answers of groups that all earned the same have no gradient, and are never
put through the trainer: their tokens count in that mean all the same.

Shapes: P prompts, S samples of each, N answer tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ropewalk.artifact import Part, open_artifact
from ropewalk.engine.engine import Engine
from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.evaluate.answers import slots_for
from ropewalk.evaluate.questions import Grade, grade, read_questions
from ropewalk.model.transformer import Transformer
from ropewalk.posttrain import GrpoOptions
from ropewalk.posttrain.folder import write_folder
from ropewalk.posttrain.lots import drawn, split
from ropewalk.posttrain.objective import Clip, advantages, all_equal, policy_loss, policy_slope
from ropewalk.posttrain.rollout import (
    Answer,
    AnswerRows,
    Judge,
    Task,
    answer_rows,
    graded,
    sample,
    scored,
    tasks_of,
    whole,
)
from ropewalk.posttrain.scorer import load_scorer
from ropewalk.posttrain.sequences import logprobs
from ropewalk.pretrain.loop import Learned, states_and_targets, train
from ropewalk.pretrain.optimizer import optimizer_for
from ropewalk.pretrain.schedule import Schedule
from ropewalk.runtime.errors import ArtifactError
from ropewalk.tokenizer.files import TOKENIZER_JSON


def make_grpo(options: GrpoOptions, part: Part) -> dict[str, Any]:
    """Train, save the folder, and return the facts."""
    engine = load_engine(options.model, slots=1)
    slots = slots_for(engine.model, most=options.prompts * options.samples)
    engine = Engine(engine.model, engine.tokenizer, engine.stop_ids, slots=slots)
    tasks = tasks_of(engine.tokenizer, read_questions(options.tasks), context_tokens=engine.model.config.context_tokens)
    train_tasks, held_back = split(tasks, options.held_back_tasks, name=lambda task: task.question.id)
    judge = scored(_scorer(options)) if options.reward else graded(options.wrong_reward)
    reference = load_engine(options.model, slots=1).model if options.reward or options.kl_weight else None
    before = answer_greedily(engine, held_back, options, judge)  # of the model as it came, also when a checkpoint waits
    trainer = Trainer(engine, train_tasks, options, judge=judge, reference=reference, before=before)
    trained = train(
        engine.model,
        optimizer_for(engine.model, options, adamw_rate=options.adamw_rate),
        Schedule(steps=options.steps, warm_up_steps=options.warm_up_steps, warm_down_fraction=options.warm_down_fraction),
        learn=trainer.learn,
        part=part,
        evaluate=lambda: answer_greedily(engine, held_back, options, judge),
        evaluate_every_steps=options.evaluate_every_steps,
        steps_together=options.updates,
        average_decay=options.average_decay,
    )
    after = answer_greedily(engine, held_back, options, judge)
    return {
        **write_folder(engine.model, open_artifact(options.model, "model"), part),
        "steps": trained.steps,
        "last_loss": trained.last_loss,
        "tasks": len(train_tasks),
        "tasks_held_back": len(held_back),
        **{name.replace("held_back/", "held_back_"): value for name, value in after.items()},
        "before": {name.removeprefix("held_back/"): value for name, value in before.items()},
    }


def _scorer(options: GrpoOptions) -> Transformer:
    """The reward model. Raises ArtifactError where it reads other tokens than the model."""
    assert options.reward is not None
    files = [open_artifact(path).manifest["files"][TOKENIZER_JSON]["sha256"] for path in (options.model, options.reward)]
    if files[0] != files[1]:
        raise ArtifactError(f"{options.reward} has another tokenizer than {options.model}: train one on a model that has it")
    return load_scorer(options.reward)


def answer_greedily(engine: Engine, tasks: Sequence[Task], options: GrpoOptions, judge: Judge) -> dict[str, float]:
    """The mean reward of the most probable answers to `tasks`, and the fractions of each grade; nothing without tasks."""
    if not tasks:
        return {}
    made = engine.generate([task.prompt for task in tasks], [Sampling(options.max_tokens, temperature=0)] * len(tasks))
    grades: list[Grade] = [grade(task.question, one.text) for task, one in zip(tasks, made, strict=True)]
    rewards = judge(list(zip(tasks, made, strict=True)))
    fractions = {f"held_back/{name}_fraction": grades.count(name) / len(tasks) for name in ("right", "refused", "wrong")}
    return {"held_back/reward": sum(rewards) / len(tasks), **fractions}


class Trainer:
    """What a step learns from: answers sampled by the weights as they are, kept for `options.updates` steps."""

    def __init__(
        self,
        engine: Engine,
        tasks: Sequence[Task],
        options: GrpoOptions,
        *,
        judge: Judge,
        reference: Transformer | None = None,
        before: dict[str, float],
    ) -> None:
        """Take an engine over. `reference`, the model as it came, tells how far the policy has moved from it."""
        self.engine, self.tasks, self.options = engine, tasks, options
        self.judge, self.reference = judge, reference
        self.clip = Clip(options.clip_low, options.clip_high, options.importance_cap)
        self.before = {f"{name}_before": value for name, value in before.items()}
        self.batch: list[AnswerRows] = []
        self.old: list[Tensor] = []
        self.tokens = 0
        self.figures: dict[str, float] = {}

    def learn(self, step: int) -> Learned:
        """Leave a step's gradients in the weights, after sampling answers where the step begins a group of updates."""
        if step % self.options.updates == 0:
            self._sample(step // self.options.updates)
        loss, figures = self._backward()
        for weight in self.engine.model.parameters():
            if weight.grad is None:  # no answer was better than another: the optimizer moves on with a gradient of 0
                weight.grad = torch.zeros_like(weight)
        return Learned(loss, self.tokens, {**self.figures, **figures, **(self.before if step == 0 else {})})

    def _sample(self, batch: int) -> None:
        options = self.options
        groups = sample(
            self.engine,
            drawn(self.tasks, batch, count=options.prompts, seed=options.seed),
            samples=options.samples,
            max_tokens=options.max_tokens,
            judge=self.judge,
            seeds=(options.seed, batch),
        )
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
        learned = [(answer, advantage) for answer, advantage in pairs if advantage != 0]
        self.batch = [rows.on(self.engine.device) for rows in answer_rows(learned)]
        self.old = []
        self.figures = _figures(rewards_PS, [answer for group in groups for answer in group])
        if self.reference is not None:
            self.figures["kl"] = float(moved_PS.mean())

    def _moved(self, groups: Sequence[Sequence[Answer]]) -> Tensor:
        """By how much likelier than to the reference each answer is, in nats (P, S); the mean is the divergence from it."""
        if self.reference is None:
            return torch.zeros(len(groups), len(groups[0]))
        answers = [answer for group in groups for answer in group]
        sequences = [whole(answer.prompt, answer.generation) for answer in answers]
        before = logprobs(self.reference, sequences, barred=self.engine.banned).cpu()
        now = torch.tensor([sum(answer.generation.logprobs) for answer in answers])
        return (now - before).view(len(groups), -1)

    def _backward(self) -> tuple[float, dict[str, float]]:
        """Forward and backward over the answers with an advantage. Returns the loss and the figures of this update."""
        if not self.batch:
            return 0.0, {}
        first, logprobs = not self.old, []
        for number, rows in enumerate(self.batch):
            hidden_ND, targets_N = states_and_targets(self.engine.model, rows.rows)

            def slope(losses_C: Tensor, chunk: slice, number: int = number, rows: AnswerRows = rows) -> Tensor:
                old_C = -losses_C if first else self.old[number][chunk]
                terms = (-losses_C, old_C, rows.rollout_N[chunk], rows.advantages_N[chunk], self.clip)
                return policy_slope(*terms) / self.tokens

            surrogate, losses_N = self.engine.model.loss(hidden_ND, targets_N, slope, barred=self.engine.banned)
            surrogate.backward()
            logprobs.append(-losses_N)
        self.old = self.old or logprobs
        return self._update_figures(torch.cat(logprobs))

    def _update_figures(self, logprobs_N: Tensor) -> tuple[float, dict[str, float]]:
        old_N, rollout_N = torch.cat(self.old), torch.cat([rows.rollout_N for rows in self.batch])
        advantages_N = torch.cat([rows.advantages_N for rows in self.batch])
        loss = policy_loss(logprobs_N, old_N, rollout_N, advantages_N, self.clip).sum() / self.tokens
        ratios_N, _ = self.clip.ratios(logprobs_N, old_N)
        low_N = (ratios_N < 1 - self.clip.low) & (advantages_N < 0)
        high_N = (ratios_N > 1 + self.clip.high) & (advantages_N > 0)
        log_ratios_N = old_N - rollout_N
        return float(loss), {
            "clip_ratio/low_mean": float(low_N.float().mean()),
            "clip_ratio/high_mean": float(high_N.float().mean()),
            "clip_ratio/region_mean": float((low_N | high_N).float().mean()),
            "sampling/importance_sampling_ratio/min": float(log_ratios_N.min().exp()),
            "sampling/importance_sampling_ratio/mean": float(log_ratios_N.exp().mean()),
            "sampling/importance_sampling_ratio/max": float(log_ratios_N.max().exp()),
            "sampling/kl": float((log_ratios_N.expm1() - log_ratios_N).mean()),
        }


def _figures(rewards_PS: Tensor, answers: Sequence[Answer]) -> dict[str, float]:
    """What sampling gave, under TRL's names: lengths in tokens, entropy in nats as minus the mean log-probability."""
    lengths = [len(answer.generation.ids) for answer in answers]
    ended = [len(answer.generation.ids) for answer in answers if answer.generation.finish == "stop"]
    return {
        "reward": float(rewards_PS.mean()),
        "reward_std": float(rewards_PS.std(dim=1).mean()),
        "frac_reward_zero_std": float(all_equal(rewards_PS).float().mean()),
        "completions/mean_length": sum(lengths) / len(lengths),
        "completions/max_length": max(lengths),
        "completions/clipped_ratio": 1 - len(ended) / len(lengths),
        "completions/mean_terminated_length": sum(ended) / max(1, len(ended)),
        "entropy": -sum(sum(answer.generation.logprobs) for answer in answers) / sum(lengths),
    }
