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
from ropewalk.engine.tools import Conversed, Tool, converse
from ropewalk.evaluate.answers import question_prompts
from ropewalk.evaluate.questions import Graded, Question, all_graded
from ropewalk.model.rows import Rows
from ropewalk.model.sequences import Answered, packed
from ropewalk.model.transformer import Transformer
from ropewalk.posttrain.scorer import all_scores
from ropewalk.posttrain.sequences import passes
from ropewalk.runtime.seeds import derive_seed
from ropewalk.tokenizer.encoding import Tokenizer


@dataclass(frozen=True)
class Task:
    """A question and its prompt as ids."""

    question: Question
    prompt: list[int]


@dataclass(frozen=True)
class Answer:
    """One sampled answer: ids with the end token, the engine's log-probability of each in nats, the reward.

    heard: where it called tools, the whole sequence, in which only what the model said is learned.
    """

    prompt: list[int]
    generation: Generation
    reward: float
    heard: Answered | None = None

    @property
    def sequence(self) -> Answered:
        """The prompt and all that followed."""
        return self.heard or whole(self.prompt, self.generation)


@dataclass(frozen=True)
class AnswerRows:
    """Some answers behind their prompts; only the answers' tokens count as targets.

    rollout_N, advantages_N: for these targets in order, the engine's log-probabilities and the answers' advantages.
    answers: whose targets these are, in that order.
    """

    rows: Rows
    answers: tuple[Answer, ...]
    rollout_N: Tensor
    advantages_N: Tensor


@dataclass(frozen=True)
class Attempt:
    """What was said to a task, and the whole sequence as in `Answer`."""

    task: Task
    made: Generation
    sequence: Answered


Judge = Callable[[Sequence[Attempt]], list[float]]
"""What answers to tasks earn."""


def tasks_of(
    tokenizer: Tokenizer, questions: Sequence[Question], *, context_tokens: int, tools: Sequence[Tool] = ()
) -> list[Task]:
    """Questions with their prompts, which tell of the tools.

    Raises:
        InputError: one leaves no room for an answer.
    """
    prompts = question_prompts(tokenizer, questions, context_tokens=context_tokens, tools=tools)
    return [Task(question, prompt) for question, prompt in zip(questions, prompts, strict=True)]


def attempt(
    engine: Engine, tasks: Sequence[Task], samplings: Sequence[Sampling], *, tools: Sequence[Tool] = (), most_rounds: int = 0
) -> list[Attempt]:
    """Answer each task once, calling tools where there are some. The same to the last bit, whatever was asked before."""
    engine.forget()
    talks = converse(engine, [task.prompt for task in tasks], samplings, tools, most_rounds=most_rounds)
    return [Attempt(task, one.made, _heard(task.prompt, one)) for task, one in zip(tasks, talks, strict=True)]


def sample(
    engine: Engine,
    tasks: Sequence[Task],
    *,
    samples: int,
    max_tokens: int,
    judge: Judge,
    seeds: tuple[str | int, ...],
    tools: Sequence[Tool] = (),
    most_rounds: int = 0,
) -> list[list[Answer]]:
    """Answer each task `samples` times from the model's own distribution, without cuts. `seeds` name this batch."""
    requests = [(place, number) for place in range(len(tasks)) for number in range(samples)]
    samplings = [Sampling(max_tokens, seed=derive_seed("rollout", *seeds, *request)) for request in requests]
    asked = [tasks[place] for place, _ in requests]
    attempts = attempt(engine, asked, samplings, tools=tools, most_rounds=most_rounds)
    groups: list[list[Answer]] = [[] for _ in tasks]
    for (place, _), one, earned in zip(requests, attempts, judge(attempts), strict=True):
        groups[place].append(Answer(one.task.prompt, one.made, earned, one.sequence))
    return groups


def graded(wrong_reward: float) -> Judge:
    """Rewards by the right answers that tasks come with."""

    def judge(attempts: Sequence[Attempt]) -> list[float]:
        grades = all_graded([(one.task.question, one.made.text) for one in attempts])
        return [reward(one, wrong_reward=wrong_reward) for one in grades]

    return judge


def scored(scorer: Transformer) -> Judge:
    """Rewards by a reward model."""
    return lambda attempts: all_scores(scorer, [one.sequence for one in attempts]).tolist()


def whole(prompt: Sequence[int], made: Generation) -> Answered:
    """A prompt with its answer, of which the answer is learned."""
    ids = np.array([*prompt, *made.ids], np.int64)
    return Answered(ids, np.arange(len(ids)) >= len(prompt))


def _heard(prompt: Sequence[int], talk: Conversed) -> Answered:
    """A prompt with all turns behind it, of which those that the model made are learned."""
    ids = np.array([*prompt, *talk.ids], np.int64)
    return Answered(ids, np.concatenate([np.zeros(len(prompt), np.bool_), np.array(talk.spoken, np.bool_)]))


def reward(graded: Graded, *, wrong_reward: float) -> float:
    """1 for a right answer, which may be not to know; 0 for not knowing what can be known; `wrong_reward` for all else.

    What is partly right earns its share of the way from there to 1.
    """
    return 0.0 if graded.grade == "refused" else wrong_reward + (1 - wrong_reward) * graded.score


def answer_rows(model: Transformer, answers: Sequence[tuple[Answer, float]]) -> Iterator[AnswerRows]:
    """Put answers with their advantages in rows, for one forward pass of this model after the other."""
    device = model.lm_head.weight.device
    sequences = [answer.sequence for answer, _ in answers]
    for part in passes(model, sequences):
        rows, owner = packed(sequences[part])
        in_order = [answers[part][place] for place in dict.fromkeys(owner.tolist())]
        yield AnswerRows(
            rows,
            tuple(answer for answer, _ in in_order),
            torch.tensor([value for answer, _ in in_order for value in answer.generation.logprobs], device=device),
            torch.tensor([advantage for answer, advantage in in_order for _ in answer.generation.ids], device=device),
        )
