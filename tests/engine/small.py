"""A small model whose tokens are bytes, and engines of it."""

from __future__ import annotations

from pathlib import Path

import torch

from ropewalk.engine.engine import Engine
from ropewalk.model.checkpoint import save_model
from ropewalk.model.config import portable
from ropewalk.model.transformer import Transformer
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.files import Vocabulary, split_by, write_tokenizer
from ropewalk.tokenizer.pattern import GPT4
from ropewalk.tokenizer.special import BOUNDARY, PAD, TURN_END, special_ids

CONTEXT_TOKENS = 48


def new_tokenizer() -> Tokenizer:
    return Tokenizer([bytes([value]) for value in range(256)], pattern=GPT4, special=special_ids(256))


def new_model(tokenizer: Tokenizer, *, context_tokens: int = CONTEXT_TOKENS, seed: int = 1) -> Transformer:
    model = Transformer(portable(depth=2, vocabulary=tokenizer.vocabulary, context_tokens=context_tokens))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.normal_(0, 0.15, generator=generator)
    return model.eval()


def new_engine(model: Transformer, tokenizer: Tokenizer, slots: int) -> Engine:
    return Engine(model, tokenizer, frozenset({tokenizer.special[BOUNDARY], tokenizer.special[TURN_END]}), slots=slots)


def write_folder(folder: Path, *, context_tokens: int = CONTEXT_TOKENS) -> Path:
    """A model folder, as of a model made elsewhere."""
    folder.mkdir()
    tokenizer = new_tokenizer()
    special = tokenizer.special
    tokens = [bytes([value]) for value in range(256)]
    write_tokenizer(folder, Vocabulary(tokens=tokens, special=special, pre_tokenizer=split_by(GPT4)))
    stop_ids = [special[BOUNDARY], special[TURN_END]]
    model = new_model(tokenizer, context_tokens=context_tokens)
    save_model(model, folder, stop_ids=stop_ids, pad_id=special[PAD], start_id=special[BOUNDARY])
    return folder
