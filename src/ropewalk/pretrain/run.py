"""From tokens to a model folder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ropewalk.artifact import Part, open_artifact
from ropewalk.model.checkpoint import save_model
from ropewalk.model.transformer import Transformer
from ropewalk.pretrain import PretrainOptions, shape_of
from ropewalk.pretrain.held_out import document_losses, held_out_rows, total_bits_per_byte
from ropewalk.pretrain.loop import Learned, Rows, compile_blocks, learn_rows, train
from ropewalk.pretrain.optimizer import LearningRates, Optimizer
from ropewalk.pretrain.schedule import Schedule
from ropewalk.runtime.errors import ArtifactError
from ropewalk.runtime.seeds import derive_seed
from ropewalk.tokenizer.encoding import Tokenizer, copy_files
from ropewalk.tokenizer.order import reading_order
from ropewalk.tokenizer.shards import TokenReader
from ropewalk.tokenizer.special import BOUNDARY, PAD, TURN_END


def make_model(options: PretrainOptions, part: Part) -> dict[str, Any]:
    """Train, save the folder, and return the facts."""
    maker = open_artifact(options.tokenizer, "tokenizer").digest
    for path in filter(None, (options.tokens, options.conversations)):
        if open_artifact(path, "tokens").inputs["tokenizer"]["digest"] != maker:
            raise ArtifactError(f"{path} was not made with {options.tokenizer}: give the tokenizer that made these tokens")
    tokenizer = Tokenizer.load(options.tokenizer)
    reader = TokenReader(options.tokens)
    order = reading_order(
        reader,
        options.conversations and TokenReader(options.conversations),
        fraction=options.conversation_fraction,
        seed=options.seed,
        rows=options.batch_rows,
        context_tokens=options.context_tokens,
    )
    model = _new_model(options, tokenizer.vocabulary)
    schedule = Schedule(
        steps=-(-options.train_tokens // order.step_tokens),
        warm_up_steps=options.warm_up_steps,
        warm_down_fraction=options.warm_down_fraction,
    )
    some_rows = spread(held_out_rows(reader), options.evaluate_documents)

    def held_out() -> dict[str, float]:
        """Bits per byte on `some_rows`, in whole windows; nothing where nothing is held out."""
        if len(some_rows) == 0:
            return {}
        losses = document_losses(
            model,
            reader,
            some_rows,
            tokenizer.bytes_per_token,
            context_tokens=options.context_tokens,
            stride_tokens=options.context_tokens,
            windows_at_once=options.batch_rows,
            pad_to_context=True,  # one shape for the compiled blocks
        )
        return {"held_out/bits_per_byte": total_bits_per_byte(list(losses))}

    def learn(step: int) -> Learned:
        batch = order.batch(step)
        return learn_rows(model, Rows(batch.ids_BT, batch.targets_BT, batch.mask_BT))

    trained = train(
        model,
        Optimizer(model, _rates(options), weight_decay=options.weight_decay),
        schedule,
        learn=learn,
        part=part,
        evaluate=held_out,
        evaluate_every_steps=options.evaluate_every_steps,
        step_size=order.step_tokens,
        unit="tokens",
    )
    special = tokenizer.special
    stop_ids = [special[BOUNDARY], special[TURN_END]]
    save_model(model, part.folder, stop_ids=stop_ids, pad_id=special[PAD], start_id=special[BOUNDARY])
    copy_files(options.tokenizer, part.folder)
    return {
        "threads": torch.get_num_threads(),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "steps": trained.steps,
        "tokens_read": trained.steps * order.step_tokens,
        "epochs": round(order.epochs(trained.steps), 3),
        "last_loss": trained.last_loss,
        "held_out_bits_per_byte": held_out().get("held_out/bits_per_byte"),
        "conversations": options.conversations is not None or "conversations" in open_artifact(options.tokens).inputs,
        "shape": {"layers": model.config.layers, "width": model.config.width, "context_tokens": model.config.context_tokens},
    }


def _new_model(options: PretrainOptions, vocabulary: int) -> Transformer:
    model = Transformer(shape_of(options, vocabulary))
    model.initialize(derive_seed("weights", options.seed))
    if options.compile == "auto":
        compile_blocks(model)
    return model


def spread(rows: np.ndarray, count: int) -> np.ndarray:
    """`count` of `rows`, evenly over all of them: rows are in the order of their URLs, so the first are all of one site."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]


def _rates(options: PretrainOptions) -> LearningRates:
    return LearningRates(
        matrix=options.matrix_rate, embedding=options.embedding_rate, head=options.head_rate, norm=options.norm_rate
    )
