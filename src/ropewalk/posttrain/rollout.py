"""Sampled answers: what the engine said, what that earned, and the rows from which the trainer learns it.

Shapes: B rows, T time, P prompts, S samples of each, N answer tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ropewalk.engine.engine import Engine, Generation
from ropewalk.engine.sampling import Sampling
from ropewalk.evaluate.questions import Grade, Question, grade
from ropewalk.model.transformer import Transformer
from ropewalk.posttrain.scorer import all_scores
from ropewalk.posttrain.sequences import Answered
from ropewalk.pretrain.loop import Rows
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.seeds import derive_seed
from ropewalk.tokenizer.chat import render_prompt
from ropewalk.tokenizer.encoding import Tokenizer

ROWS_TOKENS = 8192  # most ids in one forward pass; gradients of several add up to those of one


@dataclass(frozen=True)
class Task:
    """A question and its prompt as ids."""

    question: Question
    prompt: list[int]


@dataclass(frozen=True)
class Answer:
    """One sampled answer: ids with the end token, the engine's log-probability of each in nats, the reward."""

    prompt: list[int]
    generation: Generation
    reward: float


@dataclass(frozen=True)
class AnswerRows:
    """Some answers behind their prompts, one a row, padded behind; only the answers' tokens count as targets.

    rollout_N, advantages_N: for these targets in order, the engine's log-probabilities and the answers' advantages.
    """

    rows: Rows
    rollout_N: Tensor
    advantages_N: Tensor

    def on(self, device: torch.device) -> AnswerRows:
        """The same with its tensors on a device."""
        return AnswerRows(self.rows, self.rollout_N.to(device), self.advantages_N.to(device))


Judge = Callable[[Sequence[tuple[Task, Generation]]], list[float]]
"""What answers to tasks earn."""


def tasks_of(tokenizer: Tokenizer, questions: Sequence[Question], *, context_tokens: int) -> list[Task]:
    """Questions with their prompts.

    Raises:
        InputError: one leaves no room for an answer.
    """
    tasks = [Task(question, render_prompt(tokenizer, question.messages)) for question in questions]
    for task in tasks:
        if len(task.prompt) >= context_tokens:
            raise InputError(
                f"task {task.question.id!r} has {len(task.prompt)} tokens, this model reads {context_tokens - 1}: shorten it"
            )
    return tasks


def sample(
    engine: Engine,
    tasks: Sequence[Task],
    *,
    samples: int,
    max_tokens: int,
    judge: Judge,
    seeds: tuple[str | int, ...],
) -> list[list[Answer]]:
    """Answer each task `samples` times from the model's own distribution, without cuts. `seeds` name this batch."""
    requests = [(place, number) for place in range(len(tasks)) for number in range(samples)]
    prompts = [tasks[place].prompt for place, _ in requests]
    samplings = [Sampling(max_tokens, seed=derive_seed("rollout", *seeds, *request)) for request in requests]
    groups: list[list[Answer]] = [[] for _ in tasks]
    answers = engine.generate(prompts, samplings)
    earned = judge([(tasks[place], made) for (place, _), made in zip(requests, answers, strict=True)])
    for (place, _), prompt, made, one in zip(requests, prompts, answers, earned, strict=True):
        groups[place].append(Answer(prompt, made, one))
    return groups


def graded(wrong_reward: float) -> Judge:
    """Rewards by the right answers that tasks come with."""
    return lambda answers: [reward(grade(task.question, made.text), wrong_reward=wrong_reward) for task, made in answers]


def scored(scorer: Transformer) -> Judge:
    """Rewards by a reward model."""
    return lambda answers: all_scores(scorer, [whole(task.prompt, made) for task, made in answers]).tolist()


def whole(prompt: Sequence[int], made: Generation) -> Answered:
    """A prompt with its answer, of which the answer is learned."""
    ids = np.array([*prompt, *made.ids], np.int64)
    return Answered(ids, np.arange(len(ids)) >= len(prompt))


def reward(graded: Grade, *, wrong_reward: float) -> float:
    """1 for a right answer, which may be not to know; 0 for not knowing what can be known; `wrong_reward` for all else."""
    return {"right": 1.0, "refused": 0.0, "wrong": wrong_reward}[graded]


def answer_rows(answers: Sequence[tuple[Answer, float]]) -> Iterator[AnswerRows]:
    """Put answers with their advantages in rows, in batches of at most `ROWS_TOKENS`, rows of like length together."""
    waiting = sorted(answers, key=lambda one: len(one[0].prompt) + len(one[0].generation.ids))
    while waiting:
        taken = 0
        while taken < len(waiting) and (taken == 0 or (taken + 1) * _inputs(waiting[taken][0]) <= ROWS_TOKENS):
            taken += 1
        yield _rows(waiting[:taken])
        waiting = waiting[taken:]


def _inputs(answer: Answer) -> int:
    """How many ids are read: the answer's last token is only a target."""
    return len(answer.prompt) + len(answer.generation.ids) - 1


def _rows(answers: Sequence[tuple[Answer, float]]) -> AnswerRows:
    shape = (len(answers), max(_inputs(answer) for answer, _ in answers))
    ids_BT, targets_BT, mask_BT = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    for b, (answer, _) in enumerate(answers):
        ids, count = [*answer.prompt, *answer.generation.ids], _inputs(answer)
        ids_BT[b, :count], targets_BT[b, :count] = ids[:-1], ids[1:]
        mask_BT[b, len(answer.prompt) - 1 : count] = True
    return AnswerRows(
        Rows(ids_BT, targets_BT, mask_BT),
        torch.tensor([logprob for answer, _ in answers for logprob in answer.generation.logprobs]),
        torch.tensor([advantage for answer, advantage in answers for _ in answer.generation.ids], dtype=torch.float32),
    )
