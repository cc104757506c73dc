"""Pretraining: tokens in, a model out.

    ropewalk pretrain --tokens runs/docs/tokens --tokenizer runs/docs/tokenizer --out runs/docs/model

The artifact is a Hugging Face folder. `logs/` holds metrics.jsonl and TensorBoard events. A killed run carries on from
its last checkpoint and ends with the same weights as an undisturbed one, on the same machine with the same threads.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MultipleOf

from ropewalk.artifact import Artifact
from ropewalk.config import Estimate, Input, NotContent, Stage, build_stage

if TYPE_CHECKING:
    from ropewalk.model.config import ModelConfig

STAGE = Stage("pretrain", "model", version=3, libraries=("numpy", "torch"))


@dataclass(frozen=True)
class PretrainOptions:
    """How large the model is, what it reads, and how fast it learns."""

    tokens: Annotated[Path, Input("tokens")]
    """The tokens artifact to learn from."""
    tokenizer: Annotated[Path | None, Input("tokenizer", also="model")] = None
    """The tokenizer that made the tokens; its files are copied into the model's folder. Not needed with `init`."""
    init: Annotated[Path | None, Input("model")] = None
    """A model to go on from, one of ours or an imported one, instead of new weights: its shape and its tokenizer are kept.
    Make the tokens with `ropewalk tokenize --tokenizer` and that model."""
    conversations: Annotated[Path | None, Input("tokens")] = None
    """Conversations as tokens to mix in, made with the same tokenizer: a model that learns from the start how it will be
    asked can answer about what only its pages told it."""
    conversation_fraction: Annotated[float, Gt(0), Lt(1)] = 0.15
    """Fraction of the rows that come from the conversations, if there are any; only what the assistant says is learned of
    them."""
    replay: Annotated[Path | None, Input("tokens")] = None
    """Another corpus as tokens to mix in: what a model of `init` read before, so that it does not forget it, or anything."""
    replay_fraction: Annotated[float, Gt(0), Lt(1)] = 0.3
    """Fraction of the rows of text that come from `replay`, if it is given."""
    preset: Literal["portable", "speed", "gpt2"] = "portable"
    """The shape: Qwen3's, which other programs load; what learns most in a given time, which only ropewalk loads; or
    GPT-2's."""
    depth: Annotated[int, Gt(0)] = 4
    """Layers. Width (64 a layer), heads, the feed-forward width and what is left out below follow from it: `ropewalk size`
    shows all of it."""
    width: Annotated[int, Gt(0)] | None = None
    """Model width, if not 64 a layer; a multiple of the head width."""
    head_width: Annotated[int, Gt(0), MultipleOf(2)] = 64
    """Width of an attention head. Narrower ones make more of them, which a small model is short of."""
    context_tokens: Annotated[int, Ge(8)] | None = None
    """Longest sequence the model reads: 512, GPT-2's 1,024, or what a model of `init` was made for."""
    batch_rows: Annotated[int, Gt(0)] | None = None
    """Sequences a step; by the dial so many that the run has some 2,500 steps."""
    pass_rows: Annotated[int, Gt(0)] | None = None
    """Sequences in one forward and backward pass, if not all of a step's: less memory, and the step stays the same but for
    the last bits."""
    train_tokens: Annotated[int, Gt(0)] | None = None
    """Tokens to read in all, rounded up to whole steps; by the dial 10.5 for each parameter. Beyond the corpus' own, it is
    read again in another order."""
    matrix_rate: Annotated[float, Gt(0)] | None = None
    """Peak learning rate of the matrices inside blocks (Muon); by the dial 0.02."""
    embedding_rate: Annotated[float, Gt(0)] | None = None
    """Peak learning rate of the embedding (AdamW); by the dial 0.1 at width 256, falling with its root."""
    head_rate: Annotated[float, Gt(0)] | None = None
    """Peak learning rate of the output head (AdamW); by the dial 0.006 at width 256, falling with its root."""
    norm_rate: Annotated[float, Gt(0)] | None = None
    """Peak learning rate of the norms' weights and of biases (AdamW); by the dial 0.01."""
    adamw_rate: Annotated[float, Gt(0)] | None = None
    """One peak learning rate for all weights, under AdamW, instead of the four above: for a model of `init` that was trained
    elsewhere, 1e-4 to 3e-4 is usual."""
    weight_decay: Annotated[float, Ge(0)] | None = None
    """Cautious decay of the matrices, as a share of their learning rate; by the dial 0.1."""
    warm_up_steps: Annotated[int, Ge(0)] = 40
    """Steps in which the learning rate rises from 0."""
    warm_down_fraction: Annotated[float, Ge(0), Le(1)] = 0.65
    """Last part of the run, in which the learning rate falls to a twentieth."""
    spike_deviations: Annotated[float, Gt(0)] | None = 6.0
    """Leave out a step whose loss or gradient lies so many standard deviations above the last 128 steps'."""
    within_documents: bool = False
    """Let no position see the document before its own in a row. Slower, and hardly better for models that read pages."""
    precision: Literal["auto", "float32", "bfloat16", "float8"] = "auto"
    """Of activations and products; weights are float32. `auto` is bfloat16 on a GPU that has it, else float32. `float8` is
    for the products by the matrices inside blocks, on GPUs from Ada and Hopper on."""
    recompute: bool = False
    """Compute each block's activations again in the backward pass: a third more work, a fraction of the memory."""
    evaluate_every_steps: Annotated[int, Gt(0)] = 250
    """Steps between looks at the held-out documents."""
    evaluate_documents: Annotated[int, Gt(0)] = 24
    """Held-out documents looked at while training; `ropewalk eval` reads all."""
    sample_tokens: Annotated[int, Ge(0), NotContent] = 24
    """Tokens of a sample text to show at each of these looks; 0 for none."""
    seed: Annotated[int, Ge(0)] = 0
    """Decides the starting weights and the reading order."""
    compile: Literal["auto", "off"] = "auto"
    """Compile the blocks if a C++ compiler is here: about 1.4 times as fast after half a minute. The weights' last bits
    differ between compiled and not."""
    processes: Annotated[int, Ge(0), NotContent] = 1
    """Processes that share each step's rows; 0 for one on each GPU. The weights' last bits differ with their number, and
    with `pass_rows`. On several machines, start `ropewalk pretrain` with torchrun instead."""


def run(options: PretrainOptions, *, out: Path, force: bool = False) -> Artifact:
    """Train a model into the artifact `out`. Started by torchrun, every process takes part, and the first writes.

    Raises:
        ArtifactError: tokens of another tokenizer, or what stands at `out` differs.
        OptionError: a shape that does not work out. InputError: training diverged, or tokens that do not fit the model.
        MachineError: too little memory.
    """
    if options.processes != 1 and "WORLD_SIZE" not in os.environ:
        from ropewalk.pretrain.launch import launch

        return launch(options, out=out, force=force)
    from ropewalk.pretrain.stage import follow, lead
    from ropewalk.pretrain.world import the_world

    world = the_world()
    try:
        if not world.first:
            return follow(options, world, out=out)
        return lead(world, options, lambda make: build_stage(STAGE, options, out=out, force=force, make=make))
    finally:
        world.leave()


def estimate(options: PretrainOptions, amount: float) -> Estimate:
    """Training time from the model's FLOPs, at 28 GFLOP/s a core as measured with compiled blocks (LOG.md, 2026-11-25)."""
    from ropewalk.pretrain.dial import turn
    from ropewalk.runtime.machine import cores

    shape = shape_of(options, vocabulary=4096)  # the tokenizer is not made yet
    seconds = turn(shape, vars(options)).train_tokens * shape.training_flops_per_token / (28e9 * cores())
    return Estimate(seconds + 30, disk_bytes=5.0 * 4 * shape.parameters, amount=shape.parameters)


def shape_of(options: PretrainOptions, vocabulary: int) -> ModelConfig:
    """The shape that these options ask for, where they do not go on from a model."""
    from ropewalk.model.config import PRESETS

    return PRESETS[options.preset](
        depth=options.depth,
        vocabulary=vocabulary,
        context_tokens=options.context_tokens or CONTEXT_TOKENS[options.preset],
        width=options.width,
        head_width=options.head_width,
    )


CONTEXT_TOKENS = {"portable": 512, "speed": 512, "gpt2": 1024}


def pages_read(model: Path, step: int | None) -> Iterator[tuple[str, str]]:
    """The pages that a model had read by `step` of pretraining, by its end if None, in reading order: (page_id, URL).

    A page that was read again is repeated.
    """
    from ropewalk.pretrain.replay import pages_read as replay

    yield from replay(model, step)


def first_read(model: Path, page_ids: Collection[str]) -> int | None:
    """The fewest steps of pretraining after which a model had read one of these pages; None if it never did."""
    from ropewalk.pretrain.replay import first_read as look_up

    return look_up(model, page_ids)
