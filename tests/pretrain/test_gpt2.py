"""Three real steps of GPT-2's smallest, 124M weights, give the losses that transformers' own GPT-2 has."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ropewalk.model.checkpoint import save_model
from ropewalk.model.config import gpt2
from ropewalk.model.rows import Rows
from ropewalk.model.transformer import Transformer
from ropewalk.pretrain.loop import learn_rows
from ropewalk.pretrain.optimizer import BETAS, LearningRates, Optimizer

RATE = 6e-4


@pytest.mark.peer
def test_three_steps_of_gpt2_124m_are_transformers(tmp_path):
    from transformers import AutoModelForCausalLM

    model = Transformer(gpt2(depth=12, vocabulary=50257, context_tokens=1024))
    model.initialize(0)
    save_model(model, tmp_path, stop_ids=[50256], pad_id=50256, start_id=50256)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).train()
    rates = LearningRates(matrix=RATE, embedding=RATE, head=RATE, norm=RATE)
    optimizer = Optimizer(model, rates, weight_decay=0.0, matrices="adamw")
    their_optimizer = torch.optim.AdamW(theirs.parameters(), lr=RATE, betas=BETAS, eps=1e-10, weight_decay=0.0)
    draws, losses = np.random.default_rng(0), []
    for _ in range(3):
        ids = draws.integers(0, 50257, (2, 129))
        ours = learn_rows(model, Rows(ids[:, :-1], ids[:, 1:], np.ones((2, 128), np.bool_))).loss
        optimizer.step(rate_fraction=1.0, momentum=0.95)
        logits_BTV = theirs(torch.from_numpy(ids[:, :-1])).logits
        loss = torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1), torch.from_numpy(ids[:, 1:]).flatten())
        loss.backward()
        their_optimizer.step()
        their_optimizer.zero_grad()
        losses.append((ours, loss.item()))
    for ours, theirs_loss in losses:
        assert ours == pytest.approx(theirs_loss, abs=1e-4)
    assert losses[2][0] != losses[0][0]
