"""Products in float8 are near the exact ones, forward and backward."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ropewalk.model.config import PRESETS
from ropewalk.model.float8 import ROOM, InFloat8, fits_float8, float8_linear, held
from ropewalk.model.rows import Rows
from ropewalk.model.transformer import Transformer
from ropewalk.pretrain.loop import compile_blocks, learn_rows

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def off_by(found: torch.Tensor, exact: torch.Tensor) -> float:
    """The relative error of the whole."""
    return float((found.float() - exact.float()).norm() / exact.float().norm())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("size", [1.0, 1e-6, 1e5])
def test_float8_products_and_gradients_are_near_the_exact_ones(size, compiled, device):
    """By themselves, in a step's first pass, which measures, and in a second one that takes over its scales."""
    torch.manual_seed(0)
    weights = [torch.randn(rows, 256, device=device, requires_grad=True) for rows in (128, 64)]
    matrix = InFloat8()
    multiply = torch.compile(float8_linear, dynamic=False) if compiled else float8_linear

    def check() -> None:
        x = (size * torch.randn(2, 32, 256)).to(device, torch.bfloat16).requires_grad_()
        d_product = torch.randn(2, 32, 192, device=device)
        product = multiply(x, matrix, *weights)
        product.backward(d_product.bfloat16())
        d_x, *d_weights = x.grad, *(weight.grad for weight in weights)
        exact_x = x.detach().float().requires_grad_()
        exact = exact_x @ torch.cat(weights).T
        exact_d_x, *exact_d_weights = torch.autograd.grad(exact, (exact_x, *weights), d_product)
        assert (product.dtype, d_x.dtype, d_weights[0].dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
        # Three bits of mantissa round by up to 1/16, two by up to 1/8: 2.6% and 5% in the mean of squares.
        assert off_by(product, exact) < 0.05
        assert off_by(d_x, exact_d_x) < 0.08
        for found, expected in zip(d_weights, exact_d_weights, strict=True):
            assert off_by(found, expected) < 0.08
        for weight in weights:
            weight.grad = None

    check()
    with held([(matrix, weights)], compiled=compiled):
        check()
        assert matrix.x_scale.requires_grad
        matrix.keep_scales()
        assert float(matrix.x_scale) == pytest.approx(ROOM * 4 * size / 448, rel=0.4)  # the largest of 16,384 is near 4
        check()
        before = matrix.x_scale
        matrix.keep_scales()
        assert matrix.x_scale is before
    with torch.no_grad():
        for weight in weights:
            weight *= 3
    check()  # of what the weights are now


def test_what_a_later_pass_has_too_large_is_cut():
    matrix, weights = InFloat8(), [torch.eye(128, requires_grad=True)]
    x = torch.ones(16, 128, dtype=torch.bfloat16, requires_grad=True)
    with held([(matrix, weights)], compiled=False):
        float8_linear(x, matrix, *weights).sum().backward()
        matrix.keep_scales()
        made = float8_linear(100 * x, matrix, *weights)
    assert torch.equal(made, torch.full_like(made, ROOM))


def test_zeros_stay_zeros():
    made = float8_linear(torch.zeros(16, 128, dtype=torch.bfloat16), InFloat8(), torch.randn(128, 128))
    assert torch.equal(made, torch.zeros_like(made))


def test_only_large_matrices_of_blocks_are_multiplied_in_float8():
    assert fits_float8(torch.empty(128, 256))
    assert not fits_float8(torch.empty(128, 12))
    assert not fits_float8(torch.empty(72 * 2, 200))
    model = Transformer(PRESETS["speed"](depth=2, vocabulary=256, context_tokens=16, width=128))
    model.use_float8()
    names = {id(weight): name.removesuffix(".weight") for name, weight in model.named_parameters()}
    chosen = [[names[id(weight)] for weight in weights] for _, weights in model.matrices_in_float8()]
    parts = (
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        ["self_attn.o_proj"],
        ["mlp.up_proj"],
        ["mlp.down_proj"],
    )
    assert chosen == [[f"model.layers.{layer}.{one}" for one in together] for layer in range(2) for together in parts]


@pytest.mark.parametrize(("compiled", "pass_rows"), [(False, 4), (False, 1), (True, 2)])
def test_a_model_in_float8_learns_as_one_in_bfloat16(compiled, pass_rows):
    """Also where three of four passes take over the first one's scales."""
    ids = np.random.default_rng(0).integers(0, 256, (4, 33))
    rows, losses = Rows(ids[:, :-1], ids[:, 1:], np.ones((4, 32), np.bool_)), []
    for eight in (True, False):
        model = Transformer(PRESETS["portable"](depth=2, vocabulary=256, context_tokens=32, width=128))
        model.initialize(0)
        model.precision = torch.bfloat16
        if eight:
            model.use_float8()
        if compiled:
            compile_blocks(model)
        rates = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(20):
            loss = learn_rows(model, rows, pass_rows=pass_rows).loss
            rates.step()
            rates.zero_grad()
        losses.append(loss)
    assert losses[0] == pytest.approx(losses[1], abs=0.15)
    assert losses[0] < 4


def test_a_pass_that_learns_nothing_leaves_no_scales():
    """Gradients of nothing would be a scale that cuts all others."""
    ids = np.random.default_rng(0).integers(0, 256, (2, 33))
    rows, norms = Rows(ids[:, :-1], ids[:, 1:], np.arange(2)[:, None] * np.ones((2, 32)) > 0), []
    for eight in (True, False):
        model = Transformer(PRESETS["portable"](depth=1, vocabulary=256, context_tokens=32, width=128))
        torch.manual_seed(0)
        with torch.no_grad():
            for weight in model.parameters():
                weight.normal_(0, 0.05) if weight.ndim > 1 else weight.fill_(1.0)
        if eight:
            model.use_float8()
        learn_rows(model, rows, pass_rows=1)
        norms.append(float(model.model.layers[0].mlp.up_proj.weight.grad.norm()))
    assert norms[0] == pytest.approx(norms[1], rel=0.2)
