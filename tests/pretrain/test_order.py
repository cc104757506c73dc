"""Every token is read once an epoch, in an order that depends on digest, seed and step alone."""

from __future__ import annotations

import numpy as np
import pytest

from ropewalk.tokenizer.order import ReadingOrder
from ropewalk.tokenizer.shards import TokenReader


@pytest.fixture
def reader(tokens) -> TokenReader:
    return TokenReader(tokens)


def new_order(reader: TokenReader, *, seed: int = 0, rows: int = 4, context_tokens: int = 100) -> ReadingOrder:
    return ReadingOrder(reader, seed=seed, rows=rows, context_tokens=context_tokens)


def training_documents(reader: TokenReader) -> list[np.ndarray]:
    rows = reader.documents[reader.documents["held_out"] == 0]
    return [reader.read(int(row["first_token"]), int(row["tokens"])) for row in rows]


def stream(order: ReadingOrder, steps: int) -> np.ndarray:
    return np.concatenate([order.batch(step).ids_BT.ravel() for step in range(steps)])


def test_an_epoch_holds_every_training_token_once(reader):
    order = new_order(reader)
    read = stream(order, -(-order.epoch_tokens // order.step_tokens))[: order.epoch_tokens]
    expected = np.concatenate(training_documents(reader))
    assert np.array_equal(np.bincount(read), np.bincount(expected))
    boundary = int(expected[0])
    documents = sorted(piece.tobytes() for piece in np.split(read, np.flatnonzero(read == boundary))[1:])
    assert documents == sorted(document.astype(np.int64).tobytes() for document in training_documents(reader))


def test_targets_are_the_next_tokens(reader):
    batch = new_order(reader).batch(3)
    flat_ids, flat_targets = batch.ids_BT.ravel(), batch.targets_BT.ravel()
    assert np.array_equal(flat_ids[1:], flat_targets[:-1])
    assert batch.mask_BT.all()


def test_a_step_does_not_depend_on_the_steps_before(reader):
    order = new_order(reader)
    last = 2 * order.epoch_tokens // order.step_tokens
    one_by_one = [order.batch(step).ids_BT for step in range(last + 1)]
    for step in (last, 0, last // 2, 1):
        assert np.array_equal(new_order(reader).batch(step).ids_BT, one_by_one[step])


def test_seed_and_epoch_change_the_order(reader):
    order = new_order(reader)
    steps = order.epoch_tokens // order.step_tokens
    assert not np.array_equal(stream(order, steps), stream(new_order(reader, seed=1), steps))
    first = list(order.documents_read(1))
    assert first != list(new_order(reader, seed=1).documents_read(1))


def test_replay_names_the_documents_whose_tokens_were_read(reader):
    order = new_order(reader)
    for steps in (1, 7, order.epoch_tokens // order.step_tokens + 5):
        read = stream(order, steps)
        boundary = int(reader.read(0, 1)[0])
        named = list(order.documents_read(steps))
        assert len(named) == int((read == boundary).sum())  # a document is read from its boundary token on
        whole = [
            reader.read(int(reader.documents[row]["first_token"]), int(reader.documents[row]["tokens"])) for row in named
        ]
        assert np.array_equal(np.concatenate(whole)[: len(read)], read)
