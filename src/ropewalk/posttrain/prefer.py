"""What `dpo`, `kto` and `reward` share: judged answers as sequences, the reference's view of them, steps that learn.

The reference is the model as it came. Its log-probabilities are computed once, before the first step, and kept beside the
checkpoint, so a run that goes on has the same.

Shapes: S answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ropewalk.artifact import Part, open_artifact
from ropewalk.model.checkpoint import load_model
from ropewalk.model.placing import settle
from ropewalk.model.sequences import Answered
from ropewalk.model.transformer import Transformer
from ropewalk.posttrain import PreferenceOptions
from ropewalk.posttrain.folder import adapted, write_folder
from ropewalk.posttrain.lots import drawn, split
from ropewalk.posttrain.preference import Said
from ropewalk.posttrain.sequences import learn, logprobs, passes
from ropewalk.pretrain.loop import Learned, train
from ropewalk.pretrain.optimizer import optimizer_for
from ropewalk.pretrain.schedule import Schedule
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.progress import say
from ropewalk.tokenizer.encoding import Tokenizer

REFERENCE = "reference.npy"


@dataclass(frozen=True)
class Item:
    """What is judged at once: a pair's two answers, or one answer and another that was given elsewhere."""

    id: str
    both: tuple[Answered, Answered]


class Loss(Protocol):
    """The sum of an objective over some of a step's answers; `part` says which of the step's sequences they are."""

    def __call__(self, said: Said, part: slice) -> Tensor: ...


class Judged:
    """Items to learn from, and items held back."""

    def __init__(self, items: Sequence[Item], options: PreferenceOptions, *, context_tokens: int) -> None:
        """Leave out what is too long for the model.

        Raises:
            InputError: nothing is left to learn from.
        """
        fitting = [item for item in items if all(1 < len(one.ids) <= context_tokens for one in item.both)]
        self.left_out = len(items) - len(fitting)
        if self.left_out:
            say(f"{self.left_out} of {len(items)} are left out: longer than {context_tokens} tokens")
        self.train, self.held_back = split(fitting, options.held_back, name=lambda item: item.id)
        if not self.train:
            raise InputError(f"none of the {len(items)} judged answers can be learned from: bring others, or shorter ones")


class Reference:
    """What the model said of all judged answers before the first step."""

    def __init__(self, model: Transformer, judged: Judged, part: Part) -> None:
        """Ask it, unless that was done by the run that this one goes on with."""
        self.judged, path = judged, part.scratch / REFERENCE
        if not path.exists():
            draft = path.with_suffix(".draft.npy")
            np.save(draft, logprobs(model, sequences_of([*judged.held_back, *judged.train])).cpu().numpy())
            draft.replace(path)
        self._logprobs = torch.from_numpy(np.load(path)).view(-1, 2)

    def of(self, places: Sequence[int]) -> Tensor:
        """Of both answers of these items to learn from, (2 x places,)."""
        return self._logprobs[len(self.judged.held_back) :][list(places)].flatten()

    def held_back(self, model: Transformer) -> Said:
        """Beside what `model` says of all that is held back."""
        sequences = sequences_of(self.judged.held_back)
        before_S = self._logprobs[: len(self.judged.held_back)].flatten()
        return Said(logprobs(model, sequences).cpu(), before_S, tokens_of(sequences))


def drawn_places(judged: Judged, step: int, options: PreferenceOptions) -> list[int]:
    """Where the items of a step (from 0) stand among those to learn from."""
    return drawn(range(len(judged.train)), step, count=options.batch, seed=options.seed)


def sequences_of(items: Sequence[Item]) -> list[Answered]:
    """Both answers of each item, one after the other."""
    return [one for item in items for one in item.both]


def tokens_of(sequences: Sequence[Answered]) -> Tensor:
    """How many tokens are learned of each, (S,)."""
    return torch.tensor([float(one.tokens) for one in sequences])


def learn_judged(
    model: Transformer, sequences: Sequence[Answered], reference_S: Tensor, loss: Loss, *, together: int, count: int
) -> tuple[float, Said]:
    """Leave the gradient of `loss` over all sequences, divided by `count`, in the weights.

    together: neighbours that a loss needs at once. Returns the loss, and what was said.
    """
    value, device = 0.0, model.lm_head.weight.device
    reference_S, tokens_S = reference_S.to(device), tokens_of(sequences).to(device)
    sums = []
    for part in passes(model, sequences, together=together):

        def objective(sums_S: Tensor, part: slice = part) -> Tensor:
            return loss(Said(sums_S, reference_S[part], tokens_S[part]), part) / count

        found, sums_S = learn(model, sequences[part], objective)
        value += found
        sums.append(sums_S)
    return value, Said(torch.cat(sums), reference_S, tokens_S)


def begin(options: PreferenceOptions) -> tuple[Transformer, Tokenizer]:
    """The model to start from, and its tokenizer."""
    model = adapted(settle(load_model(options.model)), options)
    model.recompute = options.recompute
    return model, Tokenizer.load(options.model)


def finish(
    options: PreferenceOptions,
    model: Transformer,
    part: Part,
    judged: Judged,
    *,
    learn: Callable[[int], Learned],
    look: Callable[[], dict[str, float]],
    write: Callable[[], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Train, save the folder, by `write` if it is no plain model's, and return the facts."""
    trained = train(
        model,
        optimizer_for(model, options, adamw_rate=options.one_rate, weight_decay=options.weight_decay),
        Schedule(
            steps=options.steps or max(1, round(options.epochs * len(judged.train) / options.batch)),
            warm_up_steps=options.warm_up_steps,
            warm_down_fraction=options.warm_down_fraction,
        ),
        learn=learn,
        part=part,
        evaluate=look,
        evaluate_every_steps=options.evaluate_every_steps,
    )
    write = write or (lambda: write_folder(model, open_artifact(options.model, "model"), part))
    return {
        **write(),
        "steps": trained.steps,
        "epochs": round(trained.steps * options.batch / len(judged.train), 3),
        "last_loss": trained.last_loss,
        "learned_from": len(judged.train),
        "held_back": len(judged.held_back),
        "left_out": judged.left_out,
        **{name.replace("held_back/rewards/", "held_back_"): value for name, value in look().items()},
    }
