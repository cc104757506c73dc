"""Products in float8 are near the exact ones, forward and backward."""

from __future__ import annotations

import pytest
import torch

from ropewalk.model.config import PRESETS
from ropewalk.model.float8 import fits_float8, float8_linear
from ropewalk.model.transformer import Transformer

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def off_by(found: torch.Tensor, exact: torch.Tensor) -> float:
    """The relative error of the whole."""
    return float((found.float() - exact.float()).norm() / exact.float().norm())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [1.0, 1e-6, 1e5])
def test_float8_product_and_gradients_are_near_the_exact_ones(size, device):
    torch.manual_seed(0)
    x = (size * torch.randn(2, 32, 256)).to(device, torch.bfloat16)
    weight = torch.randn(128, 256, device=device)
    d_product = torch.randn(2, 32, 128, device=device)
    results = []
    for product in (float8_linear, lambda x, weight: x @ weight.T):
        exact = product is not float8_linear
        inputs = x.float() if exact else x.clone(), weight.clone()
        for value in inputs:
            value.requires_grad_()
        made = product(*inputs)
        made.backward(d_product.to(made.dtype))
        results.append((made.detach(), inputs[0].grad, inputs[1].grad))
    (product, d_x, d_weight), exact = results
    assert (product.dtype, d_x.dtype, d_weight.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    # Three bits of mantissa round by up to 1/16, two by up to 1/8: 2.6% and 5% in the mean of squares.
    assert off_by(product, exact[0]) < 0.05
    assert off_by(d_x, exact[1]) < 0.08
    assert off_by(d_weight, exact[2]) < 0.08


def test_zeros_stay_zeros():
    made = float8_linear(torch.zeros(16, 128, dtype=torch.bfloat16), torch.randn(128, 128))
    assert torch.equal(made, torch.zeros_like(made))


def test_only_large_matrices_of_blocks_are_multiplied_in_float8():
    assert fits_float8(torch.empty(128, 256))
    assert not fits_float8(torch.empty(128, 12))
    assert not fits_float8(torch.empty(72 * 2, 200))
    model = Transformer(PRESETS["speed"](depth=2, vocabulary=256, context_tokens=16, width=128))
    model.use_float8()
    chosen = {name for name, module in model.named_modules() if getattr(module, "in_float8", False)}
    parts = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")
    assert chosen == {f"model.layers.{layer}.{part}" for layer in range(2) for part in parts}


def test_a_model_in_float8_learns_as_one_in_bfloat16():
    torch.manual_seed(0)
    ids = torch.randint(0, 256, (4, 33))
    losses = []
    for eight in (True, False):
        model = Transformer(PRESETS["portable"](depth=2, vocabulary=256, context_tokens=32, width=128))
        model.initialize(0)
        model.precision = torch.bfloat16
        if eight:
            model.use_float8()
        rates = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(20):
            hidden = model(ids[:, :-1]).flatten(0, 1)
            loss, _ = model.loss(hidden, ids[:, 1:].flatten(), torch.full((128,), 1 / 128))
            loss.backward()
            rates.step()
            rates.zero_grad()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], abs=0.15)
    assert losses[0] < 4
