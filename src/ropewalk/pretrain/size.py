"""`ropewalk size`: what a model of such a depth is, what the dial makes of it, and what training it takes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, MultipleOf
from tyro.conf import FlagCreatePairsOff

from ropewalk.model.config import Preset
from ropewalk.pretrain.dial import Dial, explained, turn
from ropewalk.runtime.progress import clock, size

if TYPE_CHECKING:
    from ropewalk.model.config import ModelConfig

# What nanochat's record runs reached of an H100 (dev/LOG.md at 92d63d4): 46% at depth 18, 50% at 24, in bfloat16.
PUBLISHED_UTILISATION = 0.5
PUBLISHED = (
    ("GPT-2, 1.56B (OpenAI, 2019)", "32 TPU v3, 168 h", "about $40,000"),
    ("GPT-2, 1.56B (llm.c, 2024)", "8 H100, 24 h, 33.6B tokens", "$672"),
    ("GPT-2, 124M (llm.c, 2024)", "8 A100, 94 min, 9.9B tokens", "about $20"),
    ("GPT-2's grade (nanochat, 2026)", "8 H100, 1.65 h, 5.84B tokens", "about $40"),
)
PROBE_STEPS = 5


@dataclass(frozen=True, kw_only=True)
class SizeOptions:
    """Tell what a model of such a depth is, and what training it takes."""

    preset: Preset = "portable"
    """The shape, as for pretrain."""
    depth: Annotated[int, Gt(0)] = 4
    """Layers."""
    width: Annotated[int, Gt(0)] | None = None
    """Model width, if not 64 a layer."""
    head_width: Annotated[int, Gt(0), MultipleOf(2)] = 64
    """Width of an attention head."""
    vocabulary: Annotated[int, Gt(0)] = 32_768
    """Tokens of the tokenizer."""
    context_tokens: Annotated[int, Ge(8)] | None = None
    """Longest sequence the model reads, as for pretrain."""
    train_tokens: Annotated[int, Gt(0)] | None = None
    """Tokens to read in all, if not by the dial."""
    batch_rows: Annotated[int, Gt(0)] | None = None
    """Sequences a step, if not by the dial."""
    pass_rows: Annotated[int, Gt(0)] | None = None
    """Sequences in one pass on one device, if not as many as it has memory for."""
    gpu: Literal["h100", "h200", "a100", "rtx4090"] = "h100"
    """The kind of GPU to count with."""
    gpus: Annotated[int, Gt(0)] = 8
    """How many of them."""
    price: Annotated[float, Gt(0)] = 3.0
    """Price of an hour of one GPU, in dollars."""
    probe: FlagCreatePairsOff[bool] = False
    """Train some steps on this machine, on tokens drawn by lot, and count with the rate that this gives."""


def run_size(options: SizeOptions) -> None:
    """Print it."""
    from ropewalk.model.config import PRESETS
    from ropewalk.pretrain import CONTEXT_TOKENS

    config = PRESETS[options.preset](
        depth=options.depth,
        vocabulary=options.vocabulary,
        context_tokens=options.context_tokens or CONTEXT_TOKENS[options.preset],
        width=options.width,
        head_width=options.head_width,
    )
    given = {"train_tokens": options.train_tokens, "batch_rows": options.batch_rows}
    dial = turn(config, given)
    print(explained(config, dial, given))
    print("\n".join(_memory(config, dial, options)))
    print("\n".join(_measured(config, dial, options) if options.probe else _published(config, dial, options)))


def _memory(config: ModelConfig, dial: Dial, options: SizeOptions) -> list[str]:
    """What a device holds: float32 weights and gradients, its share of the optimizer, a pass' activations in bfloat16."""
    from ropewalk.pretrain.world import GPUS

    others = config.parameters - (config.matrix_parameters - config.vocabulary * config.width)
    held = 8 * config.parameters + (4 * (config.parameters - others) + 8 * others) / options.gpus
    row = 2.0 * config.kept_values_per_token * config.context_tokens
    room = GPUS[options.gpu][1]
    share = max(1, dial.batch_rows // options.gpus)
    rows = options.pass_rows or max(1, min(share, int((0.9 * room - held) / row)))
    needed = held + rows * row
    fits = (
        f"of {size(room)}"
        if needed <= 0.95 * room
        else f"more than the {size(room)} of one {options.gpu}: set pass_rows or recompute"
    )
    return [
        "",
        f"memory on each {options.gpu}, computed",
        f"  {'weights, optimizer':<22}{size(held):>16}",
        f"  {'activations':<22}{size(rows * row):>16}  {rows} rows in a pass",
        f"  {'in all':<22}{size(needed):>16}  {fits}",
    ]


def _published(config: ModelConfig, dial: Dial, options: SizeOptions) -> list[str]:
    """Time and price by what others have reached: nothing here is measured."""
    from ropewalk.pretrain.world import GPUS

    peak, _ = GPUS[options.gpu]
    operations = dial.train_tokens * config.training_flops_per_token
    seconds = operations / (options.gpus * peak * PUBLISHED_UTILISATION)
    lines = [
        "",
        f"if it ran as nanochat is published to (50% of the peak), which is not measured here: {options.gpus} {options.gpu}",
        f"  {'time':<22}{clock(seconds):>16}",
        f"  {'tokens a second':<22}{dial.train_tokens / seconds:>16,.0f}",
        f"  {'price':<22}{_dollars(seconds, options):>16}  at ${options.price:g} a GPU-hour",
        "",
        "published by others",
    ]
    return lines + [f"  {what:<34}{how:<32}{price}" for what, how, price in PUBLISHED]


def _measured(config: ModelConfig, dial: Dial, options: SizeOptions) -> list[str]:
    import torch

    tokens_per_second = probe(config, rows=options.pass_rows or max(1, 4096 // config.context_tokens))
    here = torch.cuda.get_device_name() if torch.cuda.is_available() else f"this machine's {torch.get_num_threads()} threads"
    seconds = dial.train_tokens / tokens_per_second
    lines = [
        "",
        f"measured here, {PROBE_STEPS} steps on {here}",
        f"  {'tokens a second':<22}{tokens_per_second:>16,.0f}",
        f"  {'operations a second':<22}{tokens_per_second * config.training_flops_per_token:>16.3g}",
        f"  {'time on one':<22}{clock(seconds):>16}",
    ]
    if torch.cuda.is_available():
        lines.append(f"  {'price':<22}{_dollars(seconds / options.gpus, options):>16}  at ${options.price:g} a GPU-hour")
    return lines


def probe(config: ModelConfig, *, rows: int) -> float:
    """Train some steps on tokens drawn by lot. Returns tokens a second, compilation and first steps not counted."""
    import numpy as np
    import torch

    from ropewalk.model.placing import settle
    from ropewalk.model.rows import Rows
    from ropewalk.model.transformer import Transformer
    from ropewalk.pretrain.loop import compile_blocks, learn_rows
    from ropewalk.pretrain.optimizer import LearningRates, Optimizer

    model = Transformer(config)
    model.initialize(0)
    settle(model)
    compile_blocks(model)
    optimizer = Optimizer(model, LearningRates(matrix=0.02, embedding=0.1, head=0.006, norm=0.01), weight_decay=0.1)
    ids = np.random.default_rng(0).integers(0, config.vocabulary, (rows, config.context_tokens + 1))
    batch = Rows(ids[:, :-1], ids[:, 1:], np.ones((rows, config.context_tokens), np.bool_))
    seconds = 0.0
    for step in range(2 + PROBE_STEPS):
        began = time.perf_counter()
        learn_rows(model, batch)
        optimizer.step(rate_fraction=1.0, momentum=0.95)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds += (time.perf_counter() - began) * (step >= 2)
    return PROBE_STEPS * batch.tokens / seconds


def _dollars(seconds: float, options: SizeOptions) -> str:
    return f"${seconds / 3600 * options.gpus * options.price:,.2f}"
