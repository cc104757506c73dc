"""Packed conversations are learned as if each were read by itself, once an epoch, in an order that is a function."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from tests.posttrain.conftest import COLOURS

from ropewalk.model.config import portable, speed
from ropewalk.model.loss import linear_cross_entropy_plain
from ropewalk.model.rows import pack, states_and_targets
from ropewalk.model.sequences import Answered, packed
from ropewalk.model.transformer import Transformer
from ropewalk.posttrain.packing import PackedOrder, conversations, rows_of
from ropewalk.posttrain.sequences import learn
from ropewalk.pretrain.loop import learn_rows
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.shards import TokenReader


@pytest.fixture(scope="module")
def reader(colours) -> TokenReader:
    return TokenReader(colours)


def new_model(preset=portable) -> Transformer:
    model = Transformer(preset(depth=2, vocabulary=1500, context_tokens=96))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(float(weight.ndim == 1), 0.08, generator=generator)
    return model


def test_packing_is_best_fit():
    assert pack([5, 4, 3, 2, 1], 6) == [[0, 4], [1, 3], [2]]
    rng = random.Random(1)
    lengths = [rng.randint(1, 40) for _ in range(2000)]
    rows = pack(lengths, 96)
    assert sorted(item for row in rows for item in row) == list(range(2000))
    assert max(sum(lengths[item] for item in row) for row in rows) <= 96
    assert sum(lengths) / (96 * len(rows)) > 0.97
    space: list[int] = []  # the plain twin: look at every row
    for length in lengths:
        fitting = [left for left in space if left >= length]
        if fitting:
            space.remove(min(fitting))
        space.append((min(fitting) if fitting else 96) - length)
    assert sorted(space) == sorted(96 - sum(lengths[item] for item in row) for row in rows)


def test_packed_equals_separate(reader):
    train = np.flatnonzero(reader.documents["held_out"] == 0)[:60:4]
    chosen = conversations(reader, train, context_tokens=96, too_long="cut")
    packed = pack(chosen.inputs.tolist(), 96)
    assert len(packed) < len(train) / 2
    rows = rows_of(reader, chosen, packed, shape=(len(packed) + 1, 96))  # and a row of padding only
    model = new_model()
    learned = learn_rows(model, rows)
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    with torch.no_grad():
        together = iter(model.logits(states_and_targets(model, rows)[0]))
    total = torch.tensor(0.0)
    count = int(rows.mask_BT.sum())
    for items in packed:
        for item in items:
            ids = torch.from_numpy(reader.read(int(chosen.first[item]), int(chosen.inputs[item]) + 1).astype(np.int64))
            mask = reader.read_mask(int(chosen.first[item]) + 1, int(chosen.inputs[item]))
            hidden_TD = model(ids[None, :-1])[0]
            alone_TV = model.logits(hidden_TD.detach())[mask == 1]
            for logits_V in alone_TV:
                torch.testing.assert_close(next(together), logits_V, atol=1e-4, rtol=0)
            loss, _ = linear_cross_entropy_plain(
                hidden_TD, model.lm_head.weight, ids[1:], torch.from_numpy(mask).float() / count
            )
            total = total + loss
    total.backward()
    assert next(together, None) is None
    assert learned.loss == pytest.approx(total.item(), abs=1e-4)
    assert learned.tokens == chosen.inputs.sum()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(gradients[name], weight.grad, atol=1e-4, rtol=0)


@pytest.mark.parametrize("preset", [portable, speed])
def test_a_prompt_that_is_read_once_is_as_good_as_repeated(preset):
    """Log-probabilities and gradients, also where a token is mixed with the one before it, as the speed preset does."""
    draws = np.random.default_rng(3)
    sequences = []
    for prompt_tokens, answers in ((20, (3, 9, 1)), (11, (4,)), (1, (5, 2)), (15, (8, 8))):
        prompt = draws.integers(0, 1500, prompt_tokens)
        for count in answers:
            ids = np.concatenate([prompt, draws.integers(0, 1500, count)])
            sequences.append(Answered(ids, np.arange(len(ids)) >= prompt_tokens))
    rows, owner = packed(sequences)
    assert rows.tokens == sum(len(one.ids) - 1 for one in sequences) - 2 * 19 - 14
    assert np.bincount(owner).tolist() == [one.tokens for one in sequences]
    model = new_model(preset)
    factors_S = torch.linspace(-1, 1, len(sequences))
    _, together_S = learn(model, sequences, lambda sums_S: (factors_S * sums_S).sum())
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    apart = [learn(model, [one], lambda sums_S, s=s: factors_S[s] * sums_S[0])[1] for s, one in enumerate(sequences)]
    torch.testing.assert_close(together_S, torch.cat(apart), atol=1e-4, rtol=0)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(gradients[name], weight.grad, atol=1e-4, rtol=1e-4)


def test_nothing_but_the_assistants_words_and_their_end_is_learned(reader, gpt4_folder):
    tokenizer = Tokenizer.load(gpt4_folder)
    rows = PackedOrder(reader, seed=0, rows=4, context_tokens=96).batch(0)
    said = tokenizer.decode(rows.targets_BT[rows.mask_BT].tolist())
    heard = tokenizer.decode(rows.targets_BT[~rows.mask_BT & (rows.documents_BT >= 0)].tolist())
    assert said.count("<|im_end|>") == heard.count("<|im_start|>assistant") > 10
    assert not any(word in said for word in ("What", "Which", "Pick", "user", "assistant", "\n"))
    assert not any(colour in heard for colour in COLOURS)


def test_an_epoch_reads_every_conversation_once_and_depends_on_the_seed_alone(reader):
    order = PackedOrder(reader, seed=0, rows=1, context_tokens=96)
    epoch = [order.batch(step) for step in range(order.steps(1.0))]
    expected = sorted(
        tuple(reader.read(int(first), int(count)))
        for first, count in zip(order.train.first, order.train.inputs, strict=True)
    )
    read = sorted(
        tuple(rows.ids_BT[0][rows.documents_BT[0] == number])
        for rows in epoch
        for number in range(rows.documents_BT.max() + 1)
    )
    assert read == expected
    assert order.steps(2.0) == order.steps(1.0) + len(order._epochs[1])
    assert order.steps(1.0) < order.steps(1.5) < order.steps(2.0)
    again = PackedOrder(reader, seed=0, rows=1, context_tokens=96)
    last = order.steps(2.0) - 1
    assert np.array_equal(again.batch(last).ids_BT, order.batch(last).ids_BT)
    assert not np.array_equal(PackedOrder(reader, seed=1, rows=1, context_tokens=96).batch(0).ids_BT, epoch[0].ids_BT)
    assert not np.array_equal(order.batch(order.steps(1.0)).ids_BT, epoch[0].ids_BT)
