"""A new model beside the one before: taken over, or refused with what speaks against it.

Two things are asked. On the questions of both evaluations it may be right less often by so much and no more. And of pairs
that people judged, which it has not learned from, it must agree with more than chance explains: the answer that was
preferred has become likelier, beside the other, than it was to the model before. What is accepted is copied byte for
byte, so its digest is that of the new model, and a path that only this stage writes never holds a model that was refused.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropewalk.artifact import Part, open_artifact
from ropewalk.evaluate.answers import ANSWERS, read_answers
from ropewalk.evaluate.compare import Pair, paired
from ropewalk.evaluate.scores import grouped
from ropewalk.evaluate.shares import share
from ropewalk.model.checkpoint import load_model
from ropewalk.model.placing import settle
from ropewalk.model.sequences import Answered
from ropewalk.posttrain import GateOptions
from ropewalk.posttrain.judged import read_pairs
from ropewalk.posttrain.sequences import answered, logprobs
from ropewalk.runtime.errors import ArtifactError, GateError, InputError
from ropewalk.runtime.progress import say
from ropewalk.tokenizer.encoding import Tokenizer


@dataclass(frozen=True)
class Verdict:
    """What was found.

    right: the shares of right answers before and now, by group of questions and of "all". agreement: with `share`'s keys.
    """

    right: dict[str, tuple[float, float]]
    agreement: dict[str, Any]


def make_gate(options: GateOptions, part: Part) -> dict[str, Any]:
    """Judge the new model, copy it, and return its facts with the figures.

    Raises:
        GateError: it is refused. ArtifactError: an evaluation of another model.
        InputError: the evaluations have no question in common, or there is no pair to judge by.
    """
    model = open_artifact(options.model, "model")
    verdict = Verdict(_right(options), _agreement(options))
    for group, (before, now) in verdict.right.items():
        say(f"questions, {group.replace('_', ' ')}: {before:.1%} right before, {now:.1%} now")
    agreement = verdict.agreement
    say(f"agrees with {agreement['hits']} of {agreement['of']} judgements: {_interval(agreement)}")
    if reasons := _against(verdict, options):
        raise GateError(f"{options.model} is not taken over: {'; and '.join(reasons)}. {options.before} stays")
    for name in model.manifest["files"]:
        (part.folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(options.model / name, part.folder / name)
    return {**model.facts, "right": verdict.right, "agreement": agreement}


def _against(verdict: Verdict, options: GateOptions) -> list[str]:
    """What speaks against the new model."""
    before, now = verdict.right["all"]
    reasons = []
    if before - now > options.most_lost:
        reasons.append(
            f"it is right on {now:.1%} of the questions, was on {before:.1%}, and may lose {options.most_lost:.1%}"
        )
    if verdict.agreement["low"] <= options.least_agreement:
        said = _interval(verdict.agreement)
        reasons.append(
            f"it agrees with {said} of the judgements, and all of that must be above {options.least_agreement:.0%}"
        )
    return reasons


def _interval(agreement: dict[str, Any]) -> str:
    return f"{agreement['share']:.1%} ({agreement['low']:.1%} to {agreement['high']:.1%})"


def _right(options: GateOptions) -> dict[str, tuple[float, float]]:
    """The shares of right answers before and now, over the questions that both models were asked."""
    sides = (options.evaluation_before, options.before), (options.evaluation, options.model)
    before, now = (read_answers(_answers_of(evaluation, model)) for evaluation, model in sides)
    pairs = paired(before, now)
    if not pairs:
        raise InputError(
            f"{options.evaluation} and {options.evaluation_before} have no question in common: ask both the same"
        )
    groups = grouped(pairs, lambda pair: pair[0].group) | {"all": pairs}
    return {name: (_share_right(some, 0), _share_right(some, 1)) for name, some in groups.items()}


def _answers_of(evaluation: Path, model: Path) -> Path:
    """The file of answers in an evaluation of this model."""
    artifact = open_artifact(evaluation, "evaluation")
    if artifact.inputs["model"]["digest"] != open_artifact(model, "model").digest:
        raise ArtifactError(f"{evaluation} is not an evaluation of {model}: evaluate that one")
    if not (evaluation / ANSWERS).is_file():
        raise ArtifactError(f"{evaluation} asked no questions: make it anew with --questions")
    return evaluation / ANSWERS


def _share_right(pairs: list[Pair], side: int) -> float:
    return round(sum(pair[side].grade == "right" for pair in pairs) / len(pairs), 4)


def _agreement(options: GateOptions) -> dict[str, Any]:
    """With how many of the pairs that it can read the new model agrees."""
    tokenizer, now, before = Tokenizer.load(options.model), load_model(options.model), load_model(options.before)
    read: list[Answered] = []
    for pair in read_pairs(options.preferences):
        both = [answered(tokenizer, pair.prompt, one) for one in (pair.chosen, pair.rejected)]
        if all(len(one.ids) <= now.config.context_tokens for one in both):
            read += both
    if not read:
        raise InputError(f"{options.preferences} holds no pair that {options.model} can read: bring others, or shorter ones")
    gains_P2 = (logprobs(settle(now), read) - logprobs(settle(before), read)).view(-1, 2)
    return share(int((gains_P2[:, 0] > gains_P2[:, 1]).sum()), len(gains_P2))
