"""The one training loop: steps, metrics, atomic checkpoints, exact resume.

Shapes: B rows, T context tokens, N = B x T flattened tokens, D model width, V vocabulary.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

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
from ropewalk.runtime.metrics import Metrics, read_metrics
from ropewalk.runtime.progress import progress, say
from ropewalk.tokenizer.order import Batch

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_EVERY_SECONDS = 30.0


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
    batch: Callable[[int], Batch],
    part: Part,
    evaluate: Callable[[], Mapping[str, float]],
    evaluate_every_steps: int,
    step_tokens: int,
) -> Trained:
    """Train `model` in place for `schedule.steps` steps, from the part's last checkpoint if there is one.

    Args:
        batch: what a step reads, a pure function of the step.
        evaluate: figures worth logging every `evaluate_every_steps` steps and at the end; must not change any state.
    """
    checkpoint = part.scratch / CHECKPOINT
    first_step = _restore(checkpoint, model, optimizer)
    last_loss, saved_at = float("nan"), time.monotonic()
    title = f"train {sum(weight.numel() for weight in model.parameters()) / 1e6:.1f}M"
    with (
        Metrics(part.logs, resumed_at_step=first_step) as metrics,
        progress(title, total=schedule.steps * step_tokens, unit="tokens", done=first_step * step_tokens) as bar,
    ):
        for step in range(first_step, schedule.steps):
            started = time.monotonic()
            loss, gradient_norm = _step(model, optimizer, schedule, step, batch(step))
            if not math.isfinite(loss + gradient_norm):
                raise InputError(
                    f"training diverged at step {step}: the loss is {loss}, the gradient's norm {gradient_norm}; "
                    "lower the learning rates, the matrices' first, and start over with --force"
                )
            last_loss = loss
            seconds = time.monotonic() - started
            figures = {
                "train/loss": loss,
                "train/gradient_norm": gradient_norm,
                "train/learning_rate_fraction": schedule.rate_fraction(step),
                "train/tokens_per_second": step_tokens / seconds,
            }
            if (step + 1) % evaluate_every_steps == 0 or step + 1 == schedule.steps:
                figures.update(evaluate())
            metrics.log(step, figures)
            bar.advance(step_tokens, note=f"loss {loss:.3f}")
            if time.monotonic() - saved_at > CHECKPOINT_EVERY_SECONDS or step + 1 == schedule.steps:
                _save(checkpoint, model, optimizer, step + 1)
                saved_at = time.monotonic()
    if first_step == schedule.steps:
        last_loss = read_metrics(part.logs)[-1]["train/loss"]
    return Trained(schedule.steps, last_loss)


def _step(model: Transformer, optimizer: Optimizer, schedule: Schedule, step: int, batch: Batch) -> tuple[float, float]:
    """One forward, backward and update. Returns the mean loss in nats and the norm of the whole gradient."""
    mask_N = torch.from_numpy(batch.mask_BT.reshape(-1)).float()
    weights_N = mask_N / mask_N.sum().clamp(min=1)  # a batch without a target to learn has loss 0, not NaN
    hidden_BTD = model(torch.from_numpy(batch.ids_BT))
    loss, _ = linear_cross_entropy(
        hidden_BTD.flatten(0, 1), model.lm_head.weight, torch.from_numpy(batch.targets_BT).flatten(), weights_N
    )
    loss.backward()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    optimizer.step(rate_fraction=schedule.rate_fraction(step), momentum=schedule.momentum(step))
    return loss.item(), norm.item()


def _save(path: Path, model: Transformer, optimizer: Optimizer, step: int) -> None:
    """Write weights, optimizer state and step as one file, in one rename."""
    tensors: dict[str, Tensor] = {f"model.{name}": weight for name, weight in _named(model).items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer.state().items()}
    draft = path.with_suffix(".draft")
    save_file(tensors, draft, metadata={"step": json.dumps(step)})
    with draft.open("rb") as file:
        os.fsync(file.fileno())  # or a power cut may keep the rename and lose the bytes
    draft.replace(path)


def _restore(path: Path, model: Transformer, optimizer: Optimizer) -> int:
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
    optimizer.load(
        {name.removeprefix("optimizer."): value for name, value in tensors.items() if name.startswith("optimizer.")}
    )
    say(f"carrying on at step {step}")
    return step


def _named(model: Transformer) -> dict[str, Tensor]:
    return {name: weight.data for name, weight in model.named_parameters()}


def compile_blocks(model: Transformer) -> None:
    """Compile the code that all blocks share, once: seconds instead of minutes for the whole model."""
    for block in model.model.layers:
        block.compile(dynamic=False)
