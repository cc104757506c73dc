"""Pretraining: tokens in, a model out.

    ropewalk pretrain --tokens runs/docs/tokens --tokenizer runs/docs/tokenizer --out runs/docs/model

The artifact is a Hugging Face folder. `logs/` holds metrics.jsonl and TensorBoard events. A killed run carries on from
its last checkpoint and ends with the same weights as an undisturbed one, on the same machine with the same threads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MultipleOf

from ropewalk.artifact import Artifact
from ropewalk.config import Estimate, Input, Stage, build_stage

if TYPE_CHECKING:
    from ropewalk.model.config import ModelConfig

STAGE = Stage("pretrain", "model", version=2, libraries=("numpy", "torch"))


@dataclass(frozen=True)
class PretrainOptions:
    """How large the model is, what it reads, and how fast it learns."""

    tokens: Annotated[Path, Input("tokens")]
    """The tokens artifact to learn from."""
    tokenizer: Annotated[Path, Input("tokenizer")]
    """The tokenizer that made the tokens; its files are copied into the model's folder."""
    conversations: Annotated[Path | None, Input("tokens")] = None
    """Conversations as tokens to mix in, made with the same tokenizer: a model that learns from the start how it will be
    asked can answer about what only its pages told it."""
    conversation_fraction: Annotated[float, Gt(0), Lt(1)] = 0.15
    """Fraction of the rows that come from the conversations, if there are any; only what the assistant says is learned of
    them."""
    depth: Annotated[int, Gt(0)] = 4
    """Layers. Width (64 a layer), heads and the feed-forward width follow from it."""
    width: Annotated[int, Gt(0)] | None = None
    """Model width, if not 64 a layer; a multiple of the head width."""
    head_width: Annotated[int, Gt(0), MultipleOf(2)] = 64
    """Width of an attention head. Narrower ones make more of them, which a small model is short of."""
    context_tokens: Annotated[int, Ge(8)] = 512
    """Longest sequence the model reads."""
    batch_rows: Annotated[int, Gt(0)] = 8
    """Sequences a step."""
    train_tokens: Annotated[int, Gt(0)] = 10_000_000
    """Tokens to read in all, rounded up to whole steps; beyond the corpus' own, it is read again in another order."""
    matrix_rate: Annotated[float, Gt(0)] = 0.02
    """Peak learning rate of the matrices inside blocks (Muon)."""
    embedding_rate: Annotated[float, Gt(0)] = 0.1
    """Peak learning rate of the embedding (AdamW)."""
    head_rate: Annotated[float, Gt(0)] = 0.006
    """Peak learning rate of the output head (AdamW)."""
    norm_rate: Annotated[float, Gt(0)] = 0.01
    """Peak learning rate of the norms' weights (AdamW)."""
    weight_decay: Annotated[float, Ge(0)] = 0.1
    """Cautious decay of the matrices, as a share of their learning rate."""
    warm_up_steps: Annotated[int, Ge(0)] = 40
    """Steps in which the learning rate rises from 0."""
    warm_down_fraction: Annotated[float, Ge(0), Le(1)] = 0.65
    """Last part of the run, in which the learning rate falls to a twentieth."""
    evaluate_every_steps: Annotated[int, Gt(0)] = 250
    """Steps between looks at the held-out documents."""
    evaluate_documents: Annotated[int, Gt(0)] = 24
    """Held-out documents looked at while training; `ropewalk eval` reads all."""
    seed: Annotated[int, Ge(0)] = 0
    """Decides the starting weights and the reading order."""
    compile: Literal["auto", "off"] = "auto"
    """Compile the blocks if a C++ compiler is here: about 1.4 times as fast after half a minute. The weights' last bits
    differ between compiled and not."""


def run(options: PretrainOptions, *, out: Path, force: bool = False) -> Artifact:
    """Train a model into the artifact `out`.

    Raises:
        ArtifactError: the tokens or the conversations were not made with this tokenizer, or what stands at `out` differs.
        OptionError: a shape that does not work out.
    """
    from ropewalk.pretrain.run import make_model

    return build_stage(STAGE, options, out=out, force=force, make=lambda part: make_model(options, part))


def estimate(options: PretrainOptions, amount: float) -> Estimate:
    """Training time from the model's FLOPs, at 28 GFLOP/s a core as measured with compiled blocks (LOG.md, 2026-11-25)."""
    from ropewalk.runtime.machine import cores

    vocabulary = 4096  # the tokenizer is not made yet
    shape = shape_of(options, vocabulary)
    parameters = shape.matrix_parameters + vocabulary * shape.width
    seconds = options.train_tokens * shape.training_flops_per_token / (28e9 * cores())
    return Estimate(seconds + 30, disk_bytes=5.0 * 4 * parameters, amount=parameters)


def shape_of(options: PretrainOptions, vocabulary: int) -> ModelConfig:
    """The shape that these options ask for."""
    from ropewalk.model.config import portable

    return portable(
        depth=options.depth,
        vocabulary=vocabulary,
        context_tokens=options.context_tokens,
        width=options.width,
        head_width=options.head_width,
    )


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
