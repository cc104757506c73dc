"""The one training loop: steps, metrics, atomic checkpoints, exact resume.

Stages differ in what a step reads and how its loss is made: they give the loop a function for that, `learn`.

Shapes: B rows, T context tokens, N tokens to be learned, D model width, V vocabulary.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ropewalk.artifact import Part
from ropewalk.model.loss import linear_cross_entropy
from ropewalk.model.transformer import Transformer
from ropewalk.pretrain.optimizer import Optimizer
from ropewalk.pretrain.schedule import Schedule
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.machine import can_compile
from ropewalk.runtime.metrics import Metrics, read_metrics
from ropewalk.runtime.progress import progress, say

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_EVERY_SECONDS = 30.0


@dataclass(frozen=True)
class Learned:
    """What a forward and backward pass gave: the loss, the tokens it is counted in (read, or sampled), figures to log."""

    loss: float
    tokens: int
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """How a run ended."""

    steps: int
    last_loss: float


def train(
    model: Transformer,
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    learn: Callable[[int], Learned],
    part: Part,
    evaluate: Callable[[], Mapping[str, float]],
    evaluate_every_steps: int,
    step_size: int = 1,
    unit: str = "steps",
    steps_together: int = 1,
    members: int = 1,
    average_decay: float | None = None,
) -> Trained:
    """Train `model` in place for `schedule.steps` steps, from the part's last checkpoint if there is one.

    Args:
        learn: leaves a step's gradients in the weights. A pure function of the weights and the step, so that a resumed
            run does what an undisturbed one would have done.
        evaluate: figures worth logging every `evaluate_every_steps` steps and at the end; must not change any state.
        step_size: how far a step moves the progress bar, in `unit`.
        steps_together: take checkpoints only after whole groups of so many steps, because `learn` may keep something
            from the first step of a group to its last.
        members: train so often, each time from the weights given and on with the steps, and end with the mean of all.
        average_decay: end (each member) with the exponential moving average of the weights that decays by this a step.
    """
    checkpoint = part.scratch / CHECKPOINT
    averages = Averages(model, steps=schedule.steps, members=members, decay=average_decay)
    first_step, steps = _restore(checkpoint, model, optimizer, averages), schedule.steps * members
    last_loss, saved_at = float("nan"), time.monotonic()
    title = f"train {sum(weight.numel() for weight in model.parameters()) / 1e6:.1f}M"
    with (
        Metrics(part.logs, resumed_at_step=first_step) as metrics,
        progress(title, total=steps * step_size, unit=unit, done=first_step * step_size) as bar,
    ):
        for step in range(first_step, steps):
            started, within = time.monotonic(), step % schedule.steps
            if step and within == 0:
                averages.begin_member(model)
                optimizer.reset()
            learned = learn(step)
            gradient_norm = _update(model, optimizer, schedule, within)
            averages.follow(model, step)
            if not math.isfinite(learned.loss + gradient_norm):
                raise InputError(
                    f"training diverged at step {step}: the loss is {learned.loss}, the gradient's norm {gradient_norm}; "
                    "lower the learning rates, the matrices' first, and start over with --force"
                )
            last_loss = learned.loss
            seconds = time.monotonic() - started
            figures = {
                "train/loss": learned.loss,
                "train/gradient_norm": gradient_norm,
                "train/learning_rate_fraction": schedule.rate_fraction(within),
                "train/tokens_per_second": learned.tokens / seconds,
                **learned.figures,
            }
            if (step + 1) % evaluate_every_steps == 0 or step + 1 == steps:
                figures.update(evaluate())
            metrics.log(step, figures)
            bar.advance(step_size, note=f"loss {learned.loss:.3f}")
            due = time.monotonic() - saved_at > CHECKPOINT_EVERY_SECONDS and (step + 1) % steps_together == 0
            if due or step + 1 == steps:
                _save(checkpoint, model, optimizer, averages, step + 1)
                saved_at = time.monotonic()
    if first_step == steps:
        last_loss = read_metrics(part.logs)[-1]["train/loss"]
    return Trained(steps, last_loss)


class Averages:
    """What a run ends with in place of its last weights, if it is asked to: averages over steps, and over members.

    A moving average over the steps of a member, of which the first are a plain mean; and the mean of where members ended
    that began alike (Wortsman et al. 2022, "Model soups"). Runs over data in another order differ by chance, their means
    less so.
    """

    def __init__(self, model: Transformer, *, steps: int, members: int, decay: float | None) -> None:
        self.steps, self.members, self.decay = steps, members, decay
        averaged = _named(model) if members > 1 or decay is not None else {}
        copies = {name: weight.clone() for name, weight in averaged.items()}
        self.start = copies if members > 1 else {}
        self.moving = {name: weight.clone() for name, weight in copies.items()} if decay is not None else {}
        self.mean = {name: torch.zeros_like(weight) for name, weight in copies.items()} if members > 1 else {}

    def begin_member(self, model: Transformer) -> None:
        """Put the weights back to where all members begin."""
        _put(model, self.start)

    def follow(self, model: Transformer, step: int) -> None:
        """Take in the weights as they are after `step`; where a member ends, put its average in their place."""
        member, within = divmod(step, self.steps)
        if self.decay is not None:
            share = 1 - min(self.decay, within / (within + 1))
            for name, weight in _named(model).items():
                self.moving[name].lerp_(weight, share)
        if within + 1 < self.steps:
            return
        _put(model, self.moving)
        if self.members > 1:
            for name, weight in _named(model).items():
                self.mean[name].lerp_(weight, 1 / (member + 1))
            if member + 1 == self.members:
                _put(model, self.mean)

    def state(self) -> dict[str, Tensor]:
        """What a run that carries on needs to know."""
        kinds = {"moving": self.moving, "mean": self.mean}
        return {f"{kind}.{name}": tensor for kind, tensors in kinds.items() for name, tensor in tensors.items()}


@dataclass(frozen=True)
class Rows:
    """Rows of ids int64 (B, T), the tokens that follow them, and which of those count.

    positions_BT, documents_BT: where a row holds several sequences, as `Transformer.forward` takes them; document -1 is
    padding.
    """

    ids_BT: np.ndarray
    targets_BT: np.ndarray
    mask_BT: np.ndarray
    positions_BT: np.ndarray | None = None
    documents_BT: np.ndarray | None = None

    @property
    def tokens(self) -> int:
        """How many ids there are, without padding."""
        return self.ids_BT.size if self.documents_BT is None else int(np.count_nonzero(self.documents_BT >= 0))


def states_and_targets(model: Transformer, rows: Rows) -> tuple[Tensor, Tensor]:
    """Read the rows; return the hidden states before the targets that count (N, D), and these targets (N,)."""
    hidden_BTD = model(
        torch.from_numpy(rows.ids_BT),
        positions_BT=None if rows.positions_BT is None else torch.from_numpy(rows.positions_BT),
        documents_BT=None if rows.documents_BT is None else torch.from_numpy(rows.documents_BT),
    )
    hidden_ND, targets_N = hidden_BTD.flatten(0, 1), torch.from_numpy(rows.targets_BT).flatten()
    if rows.mask_BT.all():
        return hidden_ND, targets_N
    # The head is a third of a small model's work: spare it what nobody learns.
    counted_N = torch.from_numpy(np.flatnonzero(rows.mask_BT))
    return hidden_ND[counted_N], targets_N[counted_N]


def learn_rows(model: Transformer, rows: Rows) -> Learned:
    """Leave the gradient of the mean loss over the rows' targets in the weights, in nats; 0 where no target counts."""
    hidden_ND, targets_N = states_and_targets(model, rows)
    weights_N = torch.full((len(targets_N),), 1 / max(1, len(targets_N)))
    loss, _ = linear_cross_entropy(hidden_ND, model.lm_head.weight, targets_N, weights_N)
    loss.backward()
    return Learned(loss.item(), rows.tokens)


def _update(model: Transformer, optimizer: Optimizer, schedule: Schedule, step: int) -> float:
    """Apply the gradients that lie in the weights. Returns the norm they had, all together."""
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    optimizer.step(rate_fraction=schedule.rate_fraction(step), momentum=schedule.momentum(step))
    return norm.item()


def _save(path: Path, model: Transformer, optimizer: Optimizer, averages: Averages, step: int) -> None:
    """Write weights, their averages, optimizer state and step as one file, in one rename."""
    tensors: dict[str, Tensor] = {f"model.{name}": weight for name, weight in _named(model).items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer.state().items()}
    tensors |= {f"averages.{name}": tensor for name, tensor in averages.state().items()}
    draft = path.with_suffix(".draft")
    save_file(tensors, draft, metadata={"step": json.dumps(step)})
    with draft.open("rb") as file:
        os.fsync(file.fileno())  # or a power cut may keep the rename and lose the bytes
    draft.replace(path)


def _restore(path: Path, model: Transformer, optimizer: Optimizer, averages: Averages) -> int:
    """Take over a checkpoint. Returns the step to go on with, 0 without one."""
    if not path.is_file():
        return 0
    try:
        with safe_open(path, framework="pt") as file:
            step = json.loads(file.metadata()["step"])
        tensors = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}): delete it, and the same command starts from step 0") from None
    with torch.no_grad():
        for name, weight in _named(model).items():
            weight.copy_(tensors[f"model.{name}"])
    for name, tensor in averages.state().items():
        tensor.copy_(tensors[f"averages.{name}"])
    optimizer.load(
        {name.removeprefix("optimizer."): value for name, value in tensors.items() if name.startswith("optimizer.")}
    )
    say(f"carrying on at step {step}")
    return step


def _named(model: Transformer) -> dict[str, Tensor]:
    return {name: weight.data for name, weight in model.named_parameters()}


def _put(model: Transformer, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into the model; none are none to copy."""
    for name, weight in weights.items():
        model.get_parameter(name).data.copy_(weight)


def compile_blocks(model: Transformer) -> None:
    """Compile the code that all blocks share, once: seconds instead of minutes for the whole model.

    Without a C++ compiler they stay as they are, and it says so.
    """
    if not can_compile():
        say("no C++ compiler with Python's headers here, so blocks are not compiled: about two thirds of the speed")
        return
    for block in model.model.layers:
        block.compile(dynamic=False)
