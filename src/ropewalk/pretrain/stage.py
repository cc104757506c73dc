"""From tokens to a model folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ropewalk.artifact import Artifact, Part, open_artifact
from ropewalk.model.checkpoint import load_model, save_like, save_model
from ropewalk.model.placing import settle
from ropewalk.model.rows import Rows
from ropewalk.model.transformer import Transformer
from ropewalk.pretrain import PretrainOptions, shape_of
from ropewalk.pretrain.dial import Dial, turn
from ropewalk.pretrain.held_out import document_losses, held_out_rows, total_bits_per_byte
from ropewalk.pretrain.loop import Learned, compile_blocks, learn_rows, train
from ropewalk.pretrain.optimizer import optimizer_for
from ropewalk.pretrain.samples import sample_text
from ropewalk.pretrain.schedule import Schedule
from ropewalk.pretrain.world import ALONE, World
from ropewalk.runtime.errors import ArtifactError, OptionError, UnfinishedError
from ropewalk.runtime.progress import say
from ropewalk.runtime.seeds import derive_seed
from ropewalk.tokenizer.encoding import Tokenizer, copy_files
from ropewalk.tokenizer.order import MixedOrder, ReadingOrder, reading_order
from ropewalk.tokenizer.origin import made_with
from ropewalk.tokenizer.shards import TokenReader
from ropewalk.tokenizer.special import BOUNDARY, PAD, TURN_END


@dataclass(frozen=True)
class _Begun:
    """What a run begins with: where its tokenizer lies, the model, its dial, what it reads."""

    home: Path
    tokenizer: Tokenizer
    model: Transformer
    dial: Dial
    order: ReadingOrder | MixedOrder
    reader: TokenReader


def make_model(options: PretrainOptions, part: Part, world: World = ALONE) -> dict[str, Any]:
    """Train, save the folder, and return the facts."""
    begun = _begin(options)
    model, dial, order = begun.model, begun.dial, begun.order
    schedule = Schedule(
        steps=-(-dial.train_tokens // order.step_tokens),
        warm_up_steps=options.warm_up_steps,
        warm_down_fraction=options.warm_down_fraction,
    )
    some_rows = spread(held_out_rows(begun.reader), options.evaluate_documents)

    def held_out() -> dict[str, float]:
        """Bits per byte on `some_rows`, in whole windows; nothing where nothing is held out."""
        if len(some_rows) == 0:
            return {}
        losses = document_losses(
            model,
            begun.reader,
            some_rows,
            begun.tokenizer.bytes_per_token,
            context_tokens=order.context_tokens,
            stride_tokens=order.context_tokens,
            windows_at_once=options.pass_rows or order.rows,
            pad_to_context=True,  # one shape for the compiled blocks
        )
        return {"held_out/bits_per_byte": total_bits_per_byte(list(losses))}

    def look() -> dict[str, float]:
        """The same, with a sample for whoever watches."""
        if options.sample_tokens:
            say(f"sample: {sample_text(model, begun.tokenizer, tokens=options.sample_tokens, seed=options.seed)}")
        return held_out()

    def learn(step: int) -> Learned:
        return learn_rows(
            model, _rows(order, step, apart=options.within_documents), pass_rows=options.pass_rows, world=world
        )

    before = held_out().get("held_out/bits_per_byte") if options.init and world.first else None
    trained = train(
        model,
        optimizer_for(model, dial, adamw_rate=options.adamw_rate, weight_decay=dial.weight_decay, world=world),
        schedule,
        learn=learn,
        part=part,
        evaluate=look,
        evaluate_every_steps=options.evaluate_every_steps,
        step_size=order.step_tokens,
        unit="tokens",
        spike_deviations=options.spike_deviations,
        operations_per_token=replace(model.config, context_tokens=order.context_tokens).training_flops_per_token,
        world=world,
    )
    if world.first:
        _save(begun, options, part)
    config = model.config
    return {
        "threads": torch.get_num_threads(),
        "parameters": config.parameters,
        "steps": trained.steps,
        "batch_rows": order.rows,
        "tokens_read": trained.steps * order.step_tokens,
        "epochs": round(order.epochs_in_rows(trained.steps * order.rows), 3),
        "last_loss": trained.last_loss,
        "held_out_bits_per_byte": held_out().get("held_out/bits_per_byte") if world.first else None,
        **({} if before is None else {"held_out_bits_per_byte_before": before}),
        "conversations": options.conversations is not None or "conversations" in open_artifact(options.tokens).inputs,
        "row_tokens": order.context_tokens,
        "shape": {"layers": config.layers, "width": config.width, "context_tokens": config.context_tokens},
        **({"processes": world.size} if world.size > 1 else {}),
    }


def lead(world: World, options: PretrainOptions, build: Callable[[Callable[[Part], dict[str, Any]]], Artifact]) -> Artifact:
    """Build what `make_model` makes, and tell the other processes whether there is anything to do."""
    began = False

    def make(part: Part) -> dict[str, Any]:
        nonlocal began
        began = True
        world.tell("go")
        return make_model(options, part, world)

    try:
        made = build(make)
    except BaseException:
        if not began:
            world.tell("failed")
        raise
    world.tell("done")
    return made


def follow(options: PretrainOptions, world: World, *, out: Path) -> Artifact:
    """Take part in the run that the first process builds at `out`, if it does; return what it built.

    Raises:
        UnfinishedError: the first process could not begin, and has said why.
    """
    word = world.tell(None)
    if word == "go":
        with tempfile.TemporaryDirectory() as folder:
            make_model(options, Part(Path(folder)), world)
        word = world.tell(None)
    if word == "failed":
        raise UnfinishedError("the first process has stopped: see what it said")
    return open_artifact(out, "model")


def _begin(options: PretrainOptions) -> _Begun:
    """Read the inputs and make the model.

    Raises:
        ArtifactError: tokens of another tokenizer. OptionError: neither a tokenizer nor a model, or rows too long for it.
    """
    home = options.init or options.tokenizer
    if home is None:
        raise OptionError("ropewalk pretrain: give --tokenizer, or --init with a model to go on from")
    for path in filter(None, (options.tokens, options.replay, options.conversations)):
        if not made_with(open_artifact(path, "tokens"), open_artifact(home)):
            raise ArtifactError(f"{path} was not made with {home}: give the tokenizer that made these tokens")
    tokenizer = Tokenizer.load(home)
    model = _model(options, tokenizer.vocabulary)
    context_tokens = options.context_tokens or min(model.config.context_tokens, LONGEST_BY_DEFAULT)
    if context_tokens > model.config.context_tokens:
        raise OptionError(f"context_tokens {context_tokens} is more than the {model.config.context_tokens} this model reads")
    dial = turn(replace(model.config, context_tokens=context_tokens), vars(options))
    readers = {name: TokenReader(path) for name in ("tokens", "replay", "conversations") if (path := getattr(options, name))}
    order = reading_order(
        readers["tokens"],
        (readers.get("replay"), options.replay_fraction),
        (readers.get("conversations"), options.conversation_fraction),
        seed=options.seed,
        rows=dial.batch_rows,
        context_tokens=context_tokens,
    )
    return _Begun(home, tokenizer, model, dial, order, readers["tokens"])


LONGEST_BY_DEFAULT = 1024  # of a model to go on from, which may read 128 times that


def _model(options: PretrainOptions, vocabulary: int) -> Transformer:
    if options.init:
        model = load_model(options.init).train()
    else:
        model = Transformer(shape_of(options, vocabulary))
        model.initialize(derive_seed("weights", options.seed))
    model = settle(model)
    model.recompute = options.recompute
    _set_precision(model, options)
    if options.compile == "auto":
        compile_blocks(model)
    return model


def _set_precision(model: Transformer, options: PretrainOptions) -> None:
    """Raises:
    OptionError: float8 where there is no GPU that multiplies in it.
    """
    if options.precision == "float8":
        if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 9):
            raise OptionError("precision float8 needs a GPU that multiplies in it (Ada, Hopper or later): leave it out")
        model.use_float8()
    elif options.precision != "auto":
        model.precision = getattr(torch, options.precision)


def _rows(order: ReadingOrder | MixedOrder, step: int, *, apart: bool) -> Rows:
    """What a step reads; `apart`, with each document by itself in its row."""
    batch = order.batch(step)
    if not apart:
        return Rows(batch.ids_BT, batch.targets_BT, batch.mask_BT)
    starts_BT = np.stack([order.starts(step * order.rows + b)[:-1] for b in range(order.rows)])
    places_T = np.arange(starts_BT.shape[1])
    positions_BT = places_T - np.maximum.accumulate(np.where(starts_BT, places_T, 0), axis=1)
    return Rows(batch.ids_BT, batch.targets_BT, batch.mask_BT, positions_BT, np.cumsum(starts_BT, axis=1))


def _save(begun: _Begun, options: PretrainOptions, part: Part) -> None:
    """Write the model's folder: a new model's is ours, one that was gone on from keeps its configuration and its ways."""
    if options.init:
        save_like(begun.model, options.init, list(open_artifact(options.init).manifest["files"]), part.folder)
        return
    special = begun.tokenizer.special
    lacking = [name for name in (BOUNDARY, TURN_END, PAD) if name not in special]
    if lacking:
        raise ArtifactError(
            f"the tokenizer lacks {', '.join(lacking)}: take it in with 'ropewalk tokenizer --take', which adds them"
        )
    stop_ids = [special[BOUNDARY], special[TURN_END]]
    save_model(begun.model, part.folder, stop_ids=stop_ids, pad_id=special[PAD], start_id=special[BOUNDARY])
    copy_files(begun.home, part.folder)


def spread(rows: np.ndarray, count: int) -> np.ndarray:
    """`count` of `rows`, evenly over all of them: rows are in the order of their URLs, so the first are all of one site."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]
