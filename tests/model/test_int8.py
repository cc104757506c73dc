"""Matrices in eight bits."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.model.test_transformer import ALL, random_model

from ropewalk.model.int8 import Int8Linear, int8_linear, plain_int8_linear, quantized, to_int8
from ropewalk.model.transformer import Linear
from ropewalk.runtime.errors import MachineError


def matrices(tokens: int = 7):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(tokens, 256, generator=generator), torch.randn(96, 256, generator=generator)


@pytest.mark.parametrize("tokens", [1, 2, 7, 40])
def test_the_product_is_that_of_its_plain_twin(tokens):
    x_NC, weight_RC = matrices(tokens)
    x_NC[0] *= 1000  # every token has a scale of its own
    weight8_RC, scale_R1 = quantized(weight_RC)
    product_NR, plain_NR = (f(x_NC, weight8_RC, scale_R1[:, 0]) for f in (int8_linear, plain_int8_linear))
    torch.testing.assert_close(product_NR, plain_NR, atol=2e-3, rtol=2e-4)


def test_nothing_is_nothing():
    _, weight_RC = matrices()
    weight8_RC, scale_R1 = quantized(weight_RC)
    assert not int8_linear(torch.zeros(3, 256), weight8_RC, scale_R1[:, 0]).any()


def test_the_error_is_that_of_the_weights_alone():
    x_NC, weight_RC = matrices()
    weight8_RC, scale_R1 = quantized(weight_RC)
    exact_NR = x_NC @ weight_RC.t()
    weights_alone = (x_NC @ (weight8_RC * scale_R1).t() - exact_NR).norm() / exact_NR.norm()
    both = (int8_linear(x_NC, weight8_RC, scale_R1[:, 0]) - exact_NR).norm() / exact_NR.norm()
    assert both < 1.01 * weights_alone
    assert weights_alone < 0.01


def test_layers_that_read_the_same_become_one_with_their_biases():
    x_NC, _ = matrices()
    torch.manual_seed(0)
    layers = [Linear(256, width) for width in (64, 96)]
    joined_NR = Int8Linear(*layers)(x_NC.view(1, 7, 256))[0]
    torch.testing.assert_close(joined_NR, torch.cat([layer(x_NC) for layer in layers], dim=1), atol=0.02, rtol=0.02)


@ALL
def test_a_model_of_every_shape_reads_nearly_the_same(kind):
    model = random_model(kind)
    ids_BT = torch.randint(0, 97, (2, 20), generator=torch.Generator().manual_seed(0))
    small = to_int8(copy.deepcopy(model))
    assert sum(isinstance(layer, Int8Linear) for layer in small.modules()) >= 2 * model.config.layers
    with torch.no_grad():
        logprobs, others = (one.logits(one(ids_BT)).log_softmax(-1) for one in (model, small))
    assert (logprobs.exp() * (logprobs - others)).sum(-1).mean() < 0.01


def test_a_torch_that_multiplies_wrongly_is_refused(monkeypatch):
    from ropewalk.model.int8 import check_product

    check_product.cache_clear()
    monkeypatch.setattr(torch, "_int_mm", lambda left, right: (left.float() @ right.float()).int() // 2)
    with pytest.raises(MachineError, match="take another --precision"):
        check_product()
    monkeypatch.undo()
    check_product.cache_clear()
    check_product()
