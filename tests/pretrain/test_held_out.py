"""Windows score every token of a document once, with the loss of a plain forward pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ropewalk.model.config import portable
from ropewalk.model.transformer import Transformer
from ropewalk.pretrain.held_out import document_losses, held_out_rows, total_bits_per_byte
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.shards import TokenReader


@pytest.fixture(scope="module")
def model() -> Transformer:
    model = Transformer(portable(depth=1, vocabulary=1500, context_tokens=64))
    model.initialize(0)
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 0.3, generator=torch.Generator().manual_seed(1))
    return model.eval()


def test_a_document_within_the_context_is_one_forward_pass(model, tokens, gpt4_folder):
    reader, tokenizer = TokenReader(tokens), Tokenizer.load(gpt4_folder)
    row = int(np.argmin(reader.documents["tokens"]))
    ids = torch.from_numpy(
        reader.read(int(reader.documents[row]["first_token"]), int(reader.documents[row]["tokens"])).astype(np.int64)
    )
    with torch.no_grad():
        logits_TV = model.logits(model(ids[None, :-1]))[0]
    expected = torch.nn.functional.cross_entropy(logits_TV, ids[1:], reduction="sum").item()
    found = next(
        document_losses(model, reader, np.array([row]), tokenizer.bytes_per_token, context_tokens=4096, stride_tokens=2048)
    )
    assert found.nats == pytest.approx(expected, rel=1e-5)
    assert found.tokens == len(ids) - 1
    assert found.text_bytes == len(tokenizer.decode_bytes(ids[1:].tolist()))


@pytest.mark.parametrize("stride_tokens", [64, 32, 7])
def test_windows_score_each_token_once(model, tokens, gpt4_folder, stride_tokens):
    reader, tokenizer = TokenReader(tokens), Tokenizer.load(gpt4_folder)
    rows = held_out_rows(reader)[:5]
    losses = list(
        document_losses(model, reader, rows, tokenizer.bytes_per_token, context_tokens=64, stride_tokens=stride_tokens)
    )
    assert [loss.tokens for loss in losses] == [int(n) - 1 for n in reader.documents["tokens"][rows]]
    for loss, row in zip(losses, rows, strict=True):
        entry = reader.documents[row]
        ids = reader.read(int(entry["first_token"]), int(entry["tokens"]))
        assert loss.text_bytes == int(tokenizer.bytes_per_token[ids].sum())
    assert 2 < total_bits_per_byte(losses) < 20
