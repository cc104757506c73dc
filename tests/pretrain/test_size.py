"""What `ropewalk size` says: the shape, the dial, memory, and time by what others have published."""

from __future__ import annotations

import re

import pytest

from ropewalk.model.config import portable
from ropewalk.pretrain.dial import explained, turn
from ropewalk.pretrain.size import SizeOptions, probe, run_size


def test_the_published_gpt2_comes_out(capsys):
    run_size(SizeOptions(preset="gpt2", depth=48, vocabulary=50257))
    said = capsys.readouterr().out
    assert re.search(r"parameters +1,557,611,200", said)
    assert re.search(r"context_tokens +1,024", said)
    assert "not measured here" in said and "$672" in said


def test_the_dial_follows_the_shape_and_what_is_set_by_hand_stays():
    small, large = (portable(depth=depth, vocabulary=4096, context_tokens=512) for depth in (4, 24))
    dials = [turn(config, {}) for config in (small, large)]
    assert dials[0].train_tokens == round(10.5 * small.matrix_parameters)
    assert dials[1].batch_rows > dials[0].batch_rows
    assert dials[1].head_rate == pytest.approx(dials[0].head_rate / 6**0.5)
    for config, dial in zip((small, large), dials, strict=True):
        assert 1_500 < dial.train_tokens / (dial.batch_rows * config.context_tokens) < 12_000
    by_hand = turn(small, {"train_tokens": 1_000_000, "matrix_rate": 0.5, "head_rate": None})
    assert (by_hand.train_tokens, by_hand.matrix_rate, by_hand.head_rate) == (1_000_000, 0.5, dials[0].head_rate)
    assert by_hand.batch_rows == 8
    table = explained(small, by_hand, {"matrix_rate": 0.5})
    assert re.search(r"matrix_rate +0\.5  set by hand", table)
    assert "set by hand" not in table.split("matrix_rate")[0]


def test_too_little_memory_is_seen_before(capsys):
    run_size(SizeOptions(depth=48, gpu="rtx4090", pass_rows=64))
    assert "more than the 24.0 GB of one rtx4090" in capsys.readouterr().out


def test_a_probe_trains(capsys):
    assert probe(portable(depth=1, vocabulary=300, context_tokens=32), rows=4) > 100
