"""The one training loop: steps, metrics, atomic checkpoints, exact resume.

Stages differ in what a step reads and how its loss is made: they give the loop a function for that, `learn`.

Shapes: B rows, T context tokens, N tokens to be learned, D model width, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ropewalk.artifact import Part
from ropewalk.model.rows import Rows, states_and_targets
from ropewalk.model.transformer import Transformer
from ropewalk.pretrain.averages import Averages, named
from ropewalk.pretrain.checkpoints import Checkpoints
from ropewalk.pretrain.optimizer import Optimizer
from ropewalk.pretrain.schedule import Schedule
from ropewalk.pretrain.spikes import Spikes
from ropewalk.pretrain.world import ALONE, World, gpu_peak
from ropewalk.runtime.errors import InputError, MachineError
from ropewalk.runtime.machine import can_compile
from ropewalk.runtime.metrics import Metrics, read_metrics
from ropewalk.runtime.progress import progress, say
from ropewalk.runtime.signals import held_back

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
    spike_deviations: float | None = None,
    operations_per_token: float | None = None,
    world: World = ALONE,
) -> Trained:
    """Train `model` in place for `schedule.steps` steps, from the part's last checkpoint if there is one.

    Ctrl-C and SIGTERM wait for the step under way, whose end is saved.

    Args:
        learn: leaves a step's gradients in the weights (in a world of several, this process' share of them). A pure
            function of the weights and the step, so that a resumed run does what an undisturbed one would have done.
        evaluate: figures worth logging every `evaluate_every_steps` steps and at the end; must not change any state.
        step_size: how far a step moves the progress bar, in `unit`.
        steps_together: take checkpoints only after whole groups of so many steps, because `learn` may keep something
            from the first step of a group to its last.
        members: train so often, each time from the weights given and on with the steps, and end with the mean of all.
        average_decay: end (each member) with the exponential moving average of the weights that decays by this a step.
        spike_deviations: leave out steps that jump, see `Spikes`.
        operations_per_token: forward and backward, to tell how fast the machine computes.
    """
    averages = Averages(model, steps=schedule.steps, members=members, decay=average_decay)
    run = _Run(model, optimizer, averages, Spikes(spike_deviations), world)
    steps, last_loss, saved_at = schedule.steps * members, float("nan"), time.monotonic()
    with ExitStack() as stack:
        checkpoints = stack.enter_context(Checkpoints(part.scratch))
        first_step = run.restore(checkpoints)
        metrics = stack.enter_context(Metrics(part.logs, resumed_at_step=first_step)) if world.first else None
        title = f"train {sum(weight.numel() for weight in named(model).values()) / 1e6:.1f}M"
        bar = stack.enter_context(
            progress(title, total=steps * step_size, unit=unit, done=first_step * step_size, silent=not world.first)
        )
        signals = stack.enter_context(held_back())
        stack.enter_context(_memory_named())
        for step in range(first_step, steps):
            started, within = time.monotonic(), step % schedule.steps
            if step and within == 0:
                averages.begin_member(model)
                optimizer.reset()
            learned = run.step(learn(step), step, schedule)
            averages.follow(model, step)
            last_loss = learned.loss
            seconds = time.monotonic() - started
            figures = {
                "train/loss": learned.loss,
                "train/gradient_norm": run.gradient_norm,
                "train/learning_rate_fraction": schedule.rate_fraction(within),
                "train/tokens_per_second": learned.tokens / seconds,
                **({"train/skipped_steps": float(run.skipped)} if run.skipped else {}),
                **_speed(learned.tokens / seconds, operations_per_token),
                **learned.figures,
            }
            if world.first and ((step + 1) % evaluate_every_steps == 0 or step + 1 == steps):
                figures.update(evaluate())
            if metrics is not None:
                metrics.log(step, figures)
            speed = figures.get("train/operations_per_second")
            bar.advance(step_size, note=f"loss {learned.loss:.3f}" + (f", {speed / 1e9:,.0f} GFLOP/s" if speed else ""))
            together = (step + 1) % steps_together == 0
            due = time.monotonic() - saved_at > CHECKPOINT_EVERY_SECONDS
            stop, due = run.agree(signals.came is not None, due)
            if step + 1 == steps or (together and (due or stop)):
                run.save(checkpoints, step + 1)
                saved_at = time.monotonic()
            if stop:
                checkpoints.wait()
                signals.answer()  # raises, most often; in a world of several, perhaps another process' signal it was
                if world.size > 1:
                    raise KeyboardInterrupt
    if first_step == steps and world.first:
        last_loss = read_metrics(part.logs)[-1]["train/loss"]
    return Trained(steps, last_loss)


def _speed(tokens_per_second: float, operations_per_token: float | None) -> dict[str, float]:
    """Operations a second; on a GPU whose peak is known also the share of it (MFU, Chowdhery et al. 2022)."""
    if operations_per_token is None:
        return {}
    speed = tokens_per_second * operations_per_token
    peak = gpu_peak()
    return {"train/operations_per_second": speed, **({"train/utilisation_fraction": speed / peak} if peak else {})}


class _Run:
    """What a run consists of between its steps."""

    def __init__(self, model: Transformer, optimizer: Optimizer, averages: Averages, spikes: Spikes, world: World) -> None:
        self.model, self.optimizer, self.averages, self.spikes, self.world = model, optimizer, averages, spikes, world
        self.gradient_norm, self.skipped = 0.0, 0

    def step(self, learned: Learned, step: int, schedule: Schedule) -> Learned:
        """Add up what all processes learned and move the weights, unless the step jumps. Returns it with the whole loss.

        Raises:
            InputError: the loss or the gradients are not finite.
        """
        loss = learned.loss
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        if self.world.size > 1:
            for weight in weights:
                if weight.grad is None:
                    weight.grad = torch.zeros_like(weight)
            total = torch.tensor([loss], dtype=torch.float64, device=weights[0].device)
            self.world.add([total, *(weight.grad for weight in weights if weight.grad is not None)])
            loss = float(total)
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        self.gradient_norm = torch.nn.utils.get_total_norm(gradients).item()
        if not math.isfinite(loss + self.gradient_norm):
            raise InputError(
                f"training diverged at step {step}: the loss is {loss}, the gradient's norm {self.gradient_norm}; "
                "lower the learning rates, the matrices' first, and start over with --force"
            )
        if self.spikes.jumps(loss, self.gradient_norm):
            self.skipped += 1
            self.model.zero_grad()
        else:
            within = step % schedule.steps
            self.optimizer.step(rate_fraction=schedule.rate_fraction(within), momentum=schedule.momentum(within))
        return Learned(loss, learned.tokens, learned.figures)

    def agree(self, stop: bool, due: bool) -> tuple[bool, bool]:
        """Whether any process is to stop, and whether the first finds a checkpoint due: the same for all."""
        if self.world.size == 1:
            return stop, due
        words = torch.tensor([float(stop), float(due and self.world.first)], device=next(self.model.parameters()).device)
        self.world.add([words])
        return bool(words[0] > 0), bool(words[1] > 0)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next step depends on."""
        tensors = {f"model.{name}": weight for name, weight in named(self.model).items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state().items()}
        tensors |= {f"averages.{name}": tensor for name, tensor in self.averages.state().items()}
        tensors |= {f"spikes.{name}": tensor for name, tensor in self.spikes.state().items()}
        return tensors

    def save(self, checkpoints: Checkpoints, step: int) -> None:
        tensors = self.tensors()  # gathered from all processes
        if self.world.first:
            checkpoints.save(tensors, step)

    def restore(self, checkpoints: Checkpoints) -> int:
        """Take over the newest checkpoint, in all processes. Returns the step to go on with, 0 without one."""
        loaded = checkpoints.load() if self.world.first else None
        step = self.world.tell(loaded[1] if loaded else 0)
        if step == 0:
            return 0
        tensors = self.world.tell(loaded[0] if loaded else None)
        _check_shapes(named(self.model), tensors, checkpoints)
        with torch.no_grad():
            for name, weight in named(self.model).items():
                weight.copy_(tensors[f"model.{name}"])
        for kind, state in (("averages", self.averages.state()), ("spikes", self.spikes.state())):
            for name, tensor in state.items():
                tensor.copy_(tensors[f"{kind}.{name}"])
        marked = {name: value for name, value in tensors.items() if name.startswith("optimizer.")}
        self.optimizer.load({name.removeprefix("optimizer."): value for name, value in marked.items()})
        if self.world.first:
            say(f"carrying on at step {step}")
        return step


def _check_shapes(weights: Mapping[str, Tensor], tensors: Mapping[str, Tensor], checkpoints: Checkpoints) -> None:
    for name, weight in weights.items():
        found = tensors.get(f"model.{name}")
        if found is None or found.shape != weight.shape:
            shape = None if found is None else tuple(found.shape)
            raise InputError(
                f"{checkpoints.path} is of another model: {name} is {shape}, not {tuple(weight.shape)}; "
                "delete it, and the same command starts from step 0"
            )


@contextmanager
def _memory_named() -> Iterator[None]:
    """Say what helps when memory runs out."""
    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise MachineError(
            "there is too little memory for a step: set pass_rows to read fewer rows at a time (the step stays the same), "
            "or recompute = true to keep fewer activations"
        ) from None


def learn_rows(model: Transformer, rows: Rows, *, pass_rows: int | None = None, world: World = ALONE) -> Learned:
    """Leave the gradient of the mean loss over the rows' targets in the weights, in nats; 0 where no target counts.

    pass_rows: rows in one forward and backward pass; gradients of several passes add up to those of one.
    world: this process takes its share of the passes; loss and gradients of all add up to the mean.
    """
    B = len(rows.ids_BT)
    _check_ids(rows, model.config.vocabulary)
    size = min(pass_rows or B, -(-B // world.size))
    counted = max(1, int(np.count_nonzero(rows.mask_BT)))
    loss = torch.zeros((), dtype=torch.float64, device=model.lm_head.weight.device)
    for start in range(world.rank * size, B, world.size * size):
        hidden_ND, targets_N = states_and_targets(model, rows.some(slice(start, start + size)))
        weights_N = torch.full((len(targets_N),), 1 / counted, device=hidden_ND.device)
        loss_of_pass, _ = model.loss(hidden_ND, targets_N, weights_N)
        loss_of_pass.backward()
        loss += loss_of_pass.detach()  # asked for its value, a GPU would stand still between passes
    return Learned(loss.item(), rows.tokens)


def _check_ids(rows: Rows, vocabulary: int) -> None:
    """Refuse ids that the model has no embedding for: torch would say so in words of its own, or not at all on a GPU."""
    highest = int(max(rows.ids_BT.max(initial=0), rows.targets_BT.max(initial=0)))
    if highest >= vocabulary:
        raise InputError(
            f"the tokens hold the id {highest}, but the model's vocabulary ends at {vocabulary - 1}: they were damaged, or "
            "made with another tokenizer; 'ropewalk verify' tells which"
        )


def compile_blocks(model: Transformer) -> None:
    """Compile the code that all blocks share, once: seconds instead of minutes for the whole model.

    Without a C++ compiler they stay as they are, and it says so.
    """
    if not can_compile():
        say("no C++ compiler with Python's headers here, so blocks are not compiled: about two thirds of the speed")
        return
    model.compiled = True
    for block in model.model.layers:
        block.compile(dynamic=False)
