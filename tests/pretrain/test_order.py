"""Every token is read once an epoch, in an order that depends on digest, seed and step alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from ropewalk.tokenizer.order import MixedOrder, ReadingOrder
from ropewalk.tokenizer.shards import TokenReader


@pytest.fixture
def reader(tokens) -> TokenReader:
    return TokenReader(tokens)


def new_order(reader: TokenReader, *, seed: int = 0, rows: int = 4, context_tokens: int = 100) -> ReadingOrder:
    return ReadingOrder(reader, seed=seed, rows=rows, context_tokens=context_tokens)


def training_documents(reader: TokenReader) -> list[np.ndarray]:
    rows = reader.documents[reader.documents["held_out"] == 0]
    return [reader.read(int(row["first_token"]), int(row["tokens"])) for row in rows]


def read_rows(order: ReadingOrder, steps: int) -> np.ndarray:
    return np.concatenate([order.batch(step).ids_BT for step in range(steps)])


def test_an_epoch_holds_every_training_token_once(reader):
    order = new_order(reader, rows=1)
    read = read_rows(order, order.epoch_rows)
    expected = np.concatenate(training_documents(reader))
    left = np.bincount(expected, minlength=1500) - np.bincount(read.ravel(), minlength=1500)
    assert left.min() >= 0
    assert left.sum() == order.epoch_tokens - read.size < order.context_tokens
    starts = [order.row_start(row) for row in range(3 * order.epoch_rows)]
    assert sorted(starts) == list(range(0, 3 * order.epoch_rows * order.context_tokens, order.context_tokens))


def test_the_stream_is_whole_documents_end_to_end(reader):
    order = new_order(reader, rows=1)
    starts = np.array([order.row_start(row) for row in range(order.epoch_rows)])
    stream = read_rows(order, order.epoch_rows)[np.argsort(starts)].ravel()
    boundary = int(reader.read(0, 1)[0])
    found = {piece.tobytes() for piece in np.split(stream, np.flatnonzero(stream == boundary))[1:-1]}
    assert found <= {document.astype(np.int64).tobytes() for document in training_documents(reader)}
    assert len(found) >= len(training_documents(reader)) - 2


def test_rows_of_a_batch_are_not_neighbours(reader):
    order = new_order(reader)
    starts = [order.row_start(row) for row in range(40)]
    assert not any(abs(a - b) == order.context_tokens for a, b in pairwise(starts))


def test_targets_are_the_next_tokens(reader):
    batch = new_order(reader).batch(3)
    assert np.array_equal(batch.ids_BT[:, 1:], batch.targets_BT[:, :-1])
    assert batch.mask_BT.all()


def test_a_step_does_not_depend_on_the_steps_before(reader):
    order = new_order(reader)
    last = 2 * order.epoch_rows // order.rows
    one_by_one = read_rows(order, last + 1).reshape(last + 1, order.rows, -1)
    for step in (last, 0, last // 2, 1):
        assert np.array_equal(new_order(reader).batch(step).ids_BT, one_by_one[step])


def test_seed_and_epoch_change_the_order(reader):
    order = new_order(reader)
    assert not np.array_equal(order.batch(0).ids_BT, new_order(reader, seed=1).batch(0).ids_BT)
    first = [order.row_start(row) for row in range(order.epoch_rows)]
    second = [order.row_start(order.epoch_rows + row) for row in range(order.epoch_rows)]
    shift = order.epoch_rows * order.context_tokens
    assert sorted(first) == sorted(start - shift for start in second)
    assert first != [start - shift for start in second]


def test_replay_names_the_documents_whose_tokens_were_read(reader):
    order = new_order(reader)
    whole = {row: tuple(reader.read(int(e["first_token"]), int(e["tokens"]))) for row, e in enumerate(reader.documents)}
    for steps in (1, 7):
        read = {tuple(row) for row in read_rows(order, steps)}
        named = list(order.documents_read(steps))
        assert len(named) == len(set(named))
        text_of_named = " ".join(" ".join(map(str, whole[row])) for row in named)
        # A row lies within one document, or across a few: its longest piece stands in a document that was named.
        boundary = int(reader.read(0, 1)[0])
        for row in read:
            pieces = " ".join(map(str, row)).split(f"{boundary}")
            assert max(pieces, key=len).strip() in text_of_named
    everything = list(order.documents_read(order.epoch_rows // order.rows + 1))
    assert set(everything) == set(order.train.tolist())


def test_a_mixture_takes_its_share_of_rows_from_each_in_their_own_order(reader):
    first, second = new_order(reader), new_order(reader, seed=1)
    mixed = MixedOrder(first, second, fraction=0.3)
    rows = np.concatenate([mixed.batch(step).ids_BT for step in range(25)])
    from_first = [first.row(row)[0][:-1] for row in range(100)]
    from_second = [second.row(row)[0][:-1] for row in range(100)]
    taken = [0, 0]
    for row in rows:
        is_second = np.array_equal(row, from_second[taken[1]])
        assert is_second or np.array_equal(row, from_first[taken[0]])
        taken[is_second] += 1
    assert taken == [70, 30]
    assert mixed.rows_of_second(100) == 30
    assert mixed.epochs(25) == pytest.approx(70 * first.context_tokens / first.epoch_tokens)


def test_what_a_mixture_read_of_its_pages_can_be_replayed(reader):
    first, second = new_order(reader), new_order(reader, seed=1)
    mixed = MixedOrder(first, second, fraction=0.25)
    assert list(mixed.documents_read(8)) == list(first.documents_in_rows(24))
    assert list(mixed.documents_read(0)) == []


@pytest.mark.parametrize(("context_tokens", "rows", "steps"), [(100, 64, 40), (100, 4, 3), (20_000, 2, 12)])
@pytest.mark.parametrize("mixed", [False, True])
def test_the_first_step_that_reads_a_document_is_the_replays(reader, context_tokens, rows, steps, mixed):
    order = new_order(reader, rows=rows, context_tokens=context_tokens)
    if mixed:
        second = new_order(reader, seed=1, rows=rows, context_tokens=context_tokens)
        order = MixedOrder(order, second, fraction=0.3)
    replayed: dict[int, int] = {}
    for step in range(1, steps + 1):
        for document in order.documents_read(step):
            replayed.setdefault(document, step)
    found = {document: order.first_step(document, steps) for document in range(len(reader.documents))}
    assert {document: step for document, step in found.items() if step is not None} == replayed
