"""Supervised fine-tuning: a model learns to say what assistants said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from ropewalk.artifact import Part, open_artifact
from ropewalk.model.checkpoint import load_model
from ropewalk.model.placing import settle
from ropewalk.model.rows import Rows, pack, states_and_targets
from ropewalk.model.transformer import Transformer
from ropewalk.posttrain import SftOptions
from ropewalk.posttrain.folder import adapted, check_tokenizer, write_folder
from ropewalk.posttrain.packing import PackedOrder, conversations, rows_of
from ropewalk.posttrain.sequences import pass_tokens
from ropewalk.pretrain.held_out import held_out_rows
from ropewalk.pretrain.loop import Learned, compile_blocks, learn_rows, train
from ropewalk.pretrain.optimizer import optimizer_for
from ropewalk.pretrain.schedule import Schedule
from ropewalk.pretrain.stage import spread
from ropewalk.runtime.errors import OptionError
from ropewalk.runtime.progress import say
from ropewalk.tokenizer.shards import TokenReader

HELD_OUT = "held_out/loss"


def make_sft(options: SftOptions, part: Part) -> dict[str, Any]:
    """Fine-tune, save the folder, and return the facts."""
    base = open_artifact(options.model, "model")
    check_tokenizer(base, open_artifact(options.tokens, "tokens"))
    model = adapted(settle(load_model(options.model)), options)
    model.recompute = options.recompute
    context_tokens = options.context_tokens or model.config.context_tokens
    if context_tokens > model.config.context_tokens:
        raise OptionError(f"context_tokens {context_tokens} is more than the {model.config.context_tokens} this model reads")
    reader = TokenReader(options.tokens)
    order = PackedOrder(
        reader, seed=options.seed, rows=options.batch_rows, context_tokens=context_tokens, too_long=options.too_long
    )
    _say_what_is_left_out(order)
    if options.compile == "auto":
        compile_blocks(model)
    looked_at = _held_out(reader, order, options)
    before = held_out_loss(model, looked_at)  # of the model as it came, also when a checkpoint waits
    steps = options.steps or order.steps(options.epochs)
    pass_rows = options.pass_rows or rows_of_a_pass(model, order.shape)

    def learn(step: int) -> Learned:
        learned = learn_rows(model, order.batch(step), pass_rows=pass_rows)
        return learned if step or before is None else replace(learned, figures={f"{HELD_OUT}_before": before})

    def evaluate() -> dict[str, float]:
        loss = held_out_loss(model, looked_at)
        return {} if loss is None else {HELD_OUT: loss}

    trained = train(
        model,
        optimizer_for(model, options, adamw_rate=options.one_rate, weight_decay=options.weight_decay),
        Schedule(steps=steps, warm_up_steps=options.warm_up_steps, warm_down_fraction=options.warm_down_fraction),
        learn=learn,
        part=part,
        evaluate=evaluate,
        evaluate_every_steps=options.evaluate_every_steps,
        members=options.members,
        average_decay=options.average_decay,
    )
    return {
        **write_folder(model, base, part),
        "steps": trained.steps,
        "epochs": round(trained.steps / order.steps(1.0), 3),
        "last_loss": trained.last_loss,
        "held_out_loss_before": before,
        "held_out_loss": held_out_loss(model, looked_at),
        "conversations_learned": len(order.train.first),
        "conversations_cut": order.train.cut,
        "conversations_left_out": order.train.without,
    }


def rows_of_a_pass(model: Transformer, shape: tuple[int, int]) -> int:
    """How many of a step's rows are read at once: as many as `pass_tokens` allows, in passes of like size."""
    rows, context_tokens = shape
    passes = -(-rows // max(1, pass_tokens(model) // context_tokens))
    return -(-rows // passes)


def held_out_loss(model: Transformer, batches: Sequence[Rows]) -> float | None:
    """The mean loss of the learned tokens in these rows, in nats; None where there are none."""
    nats, count = 0.0, 0
    for rows in batches:
        with torch.no_grad():
            hidden_ND, targets_N = states_and_targets(model, rows)
            _, losses_N = model.loss(hidden_ND, targets_N, torch.ones(len(targets_N), device=hidden_ND.device))
        nats += float(losses_N.double().sum())
        count += len(targets_N)
    return nats / count if count else None


def _held_out(reader: TokenReader, order: PackedOrder, options: SftOptions) -> list[Rows]:
    """Some held-out conversations in rows of the training's shape, which a compiled block wants."""
    rows = spread(held_out_rows(reader), options.evaluate_conversations)
    chosen = conversations(reader, rows, context_tokens=order.shape[1], too_long=options.too_long)
    packed = pack(chosen.inputs.tolist(), order.shape[1])
    B = order.shape[0]
    return [rows_of(reader, chosen, packed[start : start + B], shape=order.shape) for start in range(0, len(packed), B)]


def _say_what_is_left_out(order: PackedOrder) -> None:
    cut, without = order.train.cut, order.train.without
    if cut or without:
        say(f"{cut} conversations are cut to {order.shape[1]} tokens, {without} are left out: too long, or nothing to learn")
