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


def rows_named(order: ReadingOrder | MixedOrder, steps: int) -> list[int]:
    """The rows of the document index that a replay of so many steps comes upon."""
    index = {bytes(entry["page_id"]).hex(): row for row, entry in enumerate(order_reader(order).documents)}
    return [index[page_id] for _, page_id in order.pages_in_rows(steps * order.rows)]


def order_reader(order: ReadingOrder | MixedOrder):
    return order.reader if isinstance(order, ReadingOrder) else order_reader(order.first)


def test_replay_names_the_documents_whose_tokens_were_read(reader):
    order = new_order(reader)
    whole = {row: tuple(reader.read(int(e["first_token"]), int(e["tokens"]))) for row, e in enumerate(reader.documents)}
    for steps in (1, 7):
        read = {tuple(row) for row in read_rows(order, steps)}
        named = rows_named(order, steps)
        assert len(named) == len(set(named))
        text_of_named = " ".join(" ".join(map(str, whole[row])) for row in named)
        # A row lies within one document, or across a few: its longest piece stands in a document that was named.
        boundary = int(reader.read(0, 1)[0])
        for row in read:
            pieces = " ".join(map(str, row)).split(f"{boundary}")
            assert max(pieces, key=len).strip() in text_of_named
    everything = rows_named(order, order.epoch_rows // order.rows + 1)
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
    assert mixed.epochs_in_rows(100) == pytest.approx(70 * first.context_tokens / first.epoch_tokens)


def test_a_mixture_of_three_is_replayed_row_by_row(reader):
    orders = [new_order(reader, seed=seed) for seed in range(3)]
    mixed = MixedOrder(MixedOrder(orders[0], orders[1], fraction=0.25), orders[2], fraction=0.4)
    expected, taken, seen = [], [0, 0, 0], [set(), set(), set()]
    for row in range(60):
        part = next(i for i in (2, 1, 0) if np.array_equal(mixed.row(row)[0], orders[i].row(taken[i])[0]))
        named = list(orders[part].pages_in_rows(taken[part] + 1))[len(seen[part]) :]
        seen[part] |= {(at, page) for at, page in named}
        expected += [(row, page) for _, page in named]
        taken[part] += 1
    assert list(mixed.pages_in_rows(60)) == expected
    assert taken == [60 - 24 - 9, 9, 24]
    assert mixed.epochs_in_rows(60) == pytest.approx(taken[0] * orders[0].context_tokens / orders[0].epoch_tokens)
    assert list(mixed.pages_in_rows(0)) == []


def test_rows_know_where_documents_begin(reader):
    boundary = int(reader.read(0, 1)[0])
    order = new_order(reader)
    for row in range(40):
        ids, _ = order.row(row)
        expected = ids == boundary
        expected[0] = True
        assert np.array_equal(order.starts(row), expected)


@pytest.mark.parametrize(("context_tokens", "rows", "steps"), [(100, 64, 40), (100, 4, 3), (20_000, 2, 12)])
@pytest.mark.parametrize("mixed", [False, True])
def test_the_first_row_that_holds_a_page_is_the_replays(reader, context_tokens, rows, steps, mixed):
    order = new_order(reader, rows=rows, context_tokens=context_tokens)
    if mixed:
        second = new_order(reader, seed=1, rows=rows, context_tokens=context_tokens)
        order = MixedOrder(order, second, fraction=0.3)
    replayed: dict[str, int] = {}
    for row, page_id in order.pages_in_rows(steps * rows):
        replayed.setdefault(page_id, row)
    pages = [bytes(entry["page_id"]).hex() for entry in reader.documents]
    found = {page_id: order.first_row_of([page_id], steps * rows) for page_id in pages}
    assert {page_id: row for page_id, row in found.items() if row is not None} == replayed
