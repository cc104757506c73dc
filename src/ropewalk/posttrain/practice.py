"""What `grpo` and `ppo` share: answers to questions that are sampled, judged, and learned from with a clipped objective.

Rewards come from the right answers of tasks, or from a reward model. A batch's loss is the mean over all tokens of all its
answers (Yu et al. 2025, DAPO), so long answers are not favoured.

Shapes: P prompts, S samples of each, N answer tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ropewalk.artifact import Part, open_artifact
from ropewalk.engine.engine import Engine
from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.engine.tools import Tool, tools_of
from ropewalk.evaluate.answers import slots_for
from ropewalk.evaluate.questions import all_graded, read_questions
from ropewalk.model.rows import states_and_targets
from ropewalk.model.transformer import Transformer
from ropewalk.posttrain import PracticeOptions
from ropewalk.posttrain.folder import adapted, write_folder
from ropewalk.posttrain.lots import drawn, split
from ropewalk.posttrain.objective import Clip, policy_loss, policy_slope
from ropewalk.posttrain.rollout import Answer, AnswerRows, Judge, Task, attempt, graded, sample, scored, tasks_of
from ropewalk.posttrain.scorer import load_scorer
from ropewalk.pretrain.loop import Learned, train
from ropewalk.pretrain.optimizer import optimizer_for
from ropewalk.pretrain.schedule import Schedule
from ropewalk.runtime.errors import ArtifactError
from ropewalk.tokenizer.files import TOKENIZER_JSON


def practise(options: PracticeOptions, part: Part, kind: type[Practice]) -> dict[str, Any]:
    """Train by `kind`, save the folder, and return the facts."""
    engine = load_engine(options.model, slots=1, reading=False)
    tools = tools_of(options.tools, index=options.index)
    context_tokens = engine.model.config.context_tokens
    tasks = tasks_of(engine.tokenizer, read_questions(options.tasks), context_tokens=context_tokens, tools=tools)
    longest = max(len(task.prompt) for task in tasks) + options.max_tokens
    slots = slots_for(engine.model, longest, most=options.prompts * options.samples)
    engine = Engine(adapted(engine.model, options), engine.tokenizer, engine.stop_ids, slots=slots)
    train_tasks, held_back = split(tasks, options.held_back_tasks, name=lambda task: task.question.id)
    judge = scored(_scorer(options)) if options.reward else graded(options.wrong_reward)
    reference = _reference(engine.model, options) if options.reward or options.kl_weight else None
    before = answer_greedily(engine, held_back, options, judge, tools)  # of the model as it came, also on carrying on
    trainer = kind(engine, train_tasks, options, judge=judge, reference=reference, before=before, tools=tools)
    trained = train(
        engine.model,
        optimizer_for(engine.model, options, adamw_rate=options.one_rate),
        Schedule(steps=options.steps, warm_up_steps=options.warm_up_steps, warm_down_fraction=options.warm_down_fraction),
        learn=trainer.learn,
        part=part,
        evaluate=lambda: answer_greedily(engine, held_back, options, judge, tools),
        evaluate_every_steps=options.evaluate_every_steps,
        steps_together=options.updates,
        average_decay=options.average_decay,
    )
    after = answer_greedily(engine, held_back, options, judge, tools)
    return {
        **write_folder(engine.model, open_artifact(options.model, "model"), part),
        "steps": trained.steps,
        "last_loss": trained.last_loss,
        "tasks": len(train_tasks),
        "tasks_held_back": len(held_back),
        **{name.replace("held_back/", "held_back_"): value for name, value in after.items()},
        "before": {name.removeprefix("held_back/"): value for name, value in before.items()},
    }


def _reference(model: Transformer, options: PracticeOptions) -> Transformer:
    """The model as it came: without its adapters it is that itself."""
    return load_engine(options.model, slots=1, reading=False).model if options.lora_rank is None else model


def _scorer(options: PracticeOptions) -> Transformer:
    """The reward model. Raises ArtifactError where it reads other tokens than the model."""
    assert options.reward is not None
    files = [open_artifact(path).manifest["files"][TOKENIZER_JSON]["sha256"] for path in (options.model, options.reward)]
    if files[0] != files[1]:
        raise ArtifactError(f"{options.reward} has another tokenizer than {options.model}: train one on a model that has it")
    return load_scorer(options.reward)


def answer_greedily(
    engine: Engine, tasks: Sequence[Task], options: PracticeOptions, judge: Judge, tools: Sequence[Tool]
) -> dict[str, float]:
    """The mean reward of the most probable answers to `tasks`, and the fractions of each grade; nothing without tasks."""
    if not tasks:
        return {}
    samplings = [Sampling(options.max_tokens, temperature=0)] * len(tasks)
    attempts = attempt(engine, tasks, samplings, tools=tools, most_rounds=options.tool_rounds)
    grades = [one.grade for one in all_graded([(one.task.question, one.made.text) for one in attempts])]
    rewards = judge(attempts)
    fractions = {f"held_back/{name}_fraction": grades.count(name) / len(tasks) for name in ("right", "refused", "wrong")}
    return {"held_back/reward": sum(rewards) / len(tasks), **fractions}


class Practice(ABC):
    """What a step learns from: answers sampled by the weights as they are, kept for `options.updates` steps.

    batch: rows of what has something to teach, set by `take`; tokens: of all answers, taught or not.
    """

    def __init__(
        self,
        engine: Engine,
        tasks: Sequence[Task],
        options: PracticeOptions,
        *,
        judge: Judge,
        reference: Transformer | None = None,
        before: dict[str, float],
        tools: Sequence[Tool] = (),
    ) -> None:
        """Take an engine over. `reference`, the model as it came, tells how far the policy has moved from it."""
        self.engine, self.tasks, self.options = engine, tasks, options
        self.judge, self.reference, self.tools = judge, reference, tools
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
        loss, figures = self.update()
        for weight in self.engine.model.parameters():
            # Where no answer was better than another, the optimizer moves on with a gradient of 0.
            if weight.requires_grad and weight.grad is None:
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
            tools=self.tools,
            most_rounds=options.tool_rounds,
        )
        self.take(groups)

    @abstractmethod
    def take(self, groups: Sequence[Sequence[Answer]]) -> None:
        """Learn from these answers, the samples of each prompt together, until others come."""

    def beside(self, hidden_ND: Tensor, number: int) -> Tensor | None:
        """What else is to be minimised over the rows of this number, given the states before their targets."""
        del hidden_ND, number
        return None

    def update(self) -> tuple[float, dict[str, float]]:
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
            beside = self.beside(hidden_ND, number)
            (surrogate if beside is None else surrogate + beside).backward()
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


def sampling_figures(answers: Sequence[Answer]) -> dict[str, float]:
    """What sampling gave, under TRL's names: lengths in tokens, entropy in nats as minus the mean log-probability."""
    lengths = [len(answer.generation.ids) for answer in answers]
    ended = [len(answer.generation.ids) for answer in answers if answer.generation.finish == "stop"]
    return {
        "reward": sum(answer.reward for answer in answers) / len(answers),
        "completions/mean_length": sum(lengths) / len(lengths),
        "completions/max_length": max(lengths),
        "completions/clipped_ratio": 1 - len(ended) / len(lengths),
        "completions/mean_terminated_length": sum(ended) / max(1, len(ended)),
        "entropy": -sum(sum(answer.generation.logprobs) for answer in answers) / sum(lengths),
    }
