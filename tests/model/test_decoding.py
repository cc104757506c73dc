"""A token of each of a few texts through compiled loops: what torch's operations say, whatever the weights and the shape."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tests.model.test_transformer import ALL, random_model

from ropewalk.model import decoding, loops
from ropewalk.model.cache import KeyValueCache
from ropewalk.model.decoding import Loops, decode_in_loops
from ropewalk.model.int8 import Int8Linear, quantized, to_int8
from ropewalk.model.lora import LoraShape, adapt
from ropewalk.model.thin import MOST_TOKENS, is_thin, thin_linear
from ropewalk.model.transformer import Linear, Transformer

PAGES = 3  # of a text


@torch.inference_mode()
def said(model: Transformer, ids_BT: torch.Tensor) -> torch.Tensor:
    """The logits of a token a step, which cross pages and make the cache grow."""
    B, T = ids_BT.shape
    cache = KeyValueCache(model.config, pages=B * PAGES)
    table_BP = 1 + torch.randperm(B * PAGES, generator=torch.Generator().manual_seed(0)).view(B, PAGES)
    steps = []
    for place in range(T):
        table, positions_B1 = table_BP[:, : place // 16 + 1], torch.full((B, 1), place)
        hidden_B1D = model(ids_BT[:, place : place + 1], cache=cache, table_BP=table, positions_BT=positions_B1)
        steps.append(model.logits(hidden_B1D))
    return torch.cat(steps, dim=1)


def ids_of(texts: int, tokens: int = 35) -> torch.Tensor:
    return torch.randint(0, 97, (texts, tokens), generator=torch.Generator().manual_seed(texts))


@ALL
@pytest.mark.parametrize("texts", [1, 2, 7])
def test_every_family_says_what_it_says_without_loops(kind, texts):
    model = random_model(kind)
    expected = said(model, ids_of(texts))
    decode_in_loops(model)
    assert isinstance(model.decode, Loops) == (kind not in ("gpt2", "speed"))
    torch.testing.assert_close(said(model, ids_of(texts)), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["qwen3", "qwen2"])
def test_bytes_say_what_their_numbers_would(kind):
    model, numbers = (
        to_int8(random_model(kind, width=64, feed_forward_width=96)),
        random_model(kind, width=64, feed_forward_width=96),
    )
    with torch.no_grad():
        for layer in numbers.modules():
            if isinstance(layer, Linear) and min(layer.weight.shape) >= 32:
                weight8_RC, scale_R1 = quantized(layer.weight)
                layer.weight.copy_(weight8_RC * scale_R1)
    decode_in_loops(model)
    assert isinstance(model.decode, Loops)
    torch.testing.assert_close(said(model, ids_of(5)), said(numbers, ids_of(5)), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 5, 8, 16, 31, 32])
@pytest.mark.parametrize("outputs", [1, 6, 40])
def test_products_of_few_tokens_are_torchs(tokens, outputs):
    draws = torch.Generator().manual_seed(tokens)
    x_NC, weight_RC = torch.randn(tokens, 70, generator=draws), torch.randn(outputs, 70, generator=draws)
    scale_R, bias_R = torch.rand(outputs, generator=draws), torch.randn(outputs, generator=draws)
    expected_NR = x_NC @ (weight_RC * scale_R[:, None]).t() + bias_R
    torch.testing.assert_close(thin_linear(x_NC, weight_RC, scale_R, bias_R), expected_NR, atol=1e-4, rtol=1e-4)
    whole_RC = (10 * weight_RC).round().to(torch.int8)
    torch.testing.assert_close(thin_linear(x_NC[None], whole_RC)[0], x_NC @ whole_RC.float().t(), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("shape", [(70,), (0, 70), (2, 3, 70), (1, 1, 1, 70)])
def test_products_take_any_leading_shape(shape):
    x, weight_RC = torch.randn(shape), torch.randn(40, 70)
    found, expected = thin_linear(x, weight_RC), x @ weight_RC.t()
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_only_what_is_few_and_teaches_nothing_is_thin():
    x_NC = torch.randn(3, 8)
    assert not is_thin(x_NC)
    with torch.no_grad():
        assert is_thin(x_NC)
        assert not is_thin(x_NC.bfloat16())
        assert not is_thin(torch.randn(MOST_TOKENS + 1, 8))


def test_weights_that_change_are_seen():
    """In their places, as training changes them, and elsewhere, as averages come and go; and adapters end the loops."""
    model, ids_BT = random_model("llama"), ids_of(3)
    decode_in_loops(model)
    said(model, ids_BT)
    other = random_model("llama", seed=1)
    expected = said(other, ids_BT)
    with torch.no_grad():
        for weight, new in zip(model.parameters(), other.parameters(), strict=True):
            weight.copy_(new)
    torch.testing.assert_close(said(model, ids_BT), expected, atol=2e-5, rtol=1e-4)
    third = random_model("llama", seed=2)
    for weight, new in zip(model.parameters(), third.parameters(), strict=True):
        weight.data = new.detach().clone()
    torch.testing.assert_close(said(model, ids_BT), said(third, ids_BT), atol=2e-5, rtol=1e-4)
    adapt(model, LoraShape(4, 8.0, rank_stabilised=False, targets="all"), seed=0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.1)
    assert model.decode is not None and not model.decode.takes(1)
    adapted = said(model, ids_BT)
    model.decode = None
    torch.testing.assert_close(adapted, said(model, ids_BT), atol=2e-5, rtol=1e-4)
    assert (adapted - said(third, ids_BT)).abs().max() > 1e-2


def test_a_model_in_bfloat16_stays_as_it_is():
    model = random_model("qwen3")
    model.precision = torch.bfloat16
    decode_in_loops(model)
    assert model.decode is None
    assert not any(layer.thin for layer in model.modules() if isinstance(layer, Linear))


def test_without_threads_for_several_engines_each_has_its_own(monkeypatch):
    model, ids_BT = random_model("qwen3"), ids_of(4)
    expected = said(model, ids_BT)
    decode_in_loops(model)
    for name in ("multiply", "attend", "gate"):
        monkeypatch.setattr(loops, name, loops.loop(getattr(loops, name).py_func))
    x_NC, weight_RC = torch.randn(5, 48), torch.randn(9, 48)
    torch.testing.assert_close(thin_linear(x_NC, weight_RC), x_NC @ weight_RC.t(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(said(model, ids_BT), expected, atol=2e-5, rtol=1e-4)


def test_engines_in_threads_of_their_own_do_not_disturb_each_other():
    models = [random_model("qwen3", seed=seed) for seed in range(4)]
    expected = [said(model, ids_of(3)) for model in models]
    for model in models:
        decode_in_loops(model)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for found, told in zip(pool.map(lambda model: said(model, ids_of(3)), models), expected, strict=True):
                torch.testing.assert_close(found, told, atol=2e-5, rtol=1e-4)


def test_a_norm_that_is_bare_weighs_nothing():
    assert decoding._norm(torch.nn.Identity()).tolist() == []
    out_ND = np.zeros((1, 3), np.float32)
    loops.norm(np.array([[3, 0, 4]], np.float32), np.ones(3, np.float32), np.float32(0), out_ND)
    np.testing.assert_allclose(out_ND, np.array([[3, 0, 4]], np.float32) / np.sqrt(25 / 3), rtol=1e-6)


def test_int8_takes_many_tokens_where_bytes_are_slow(monkeypatch):
    """Without VNNI the weights are multiplied as numbers: the same product."""
    layer = Int8Linear(Linear(64, 40))
    x_NC = torch.randn(200, 64)
    expected_NR = torch.nn.functional.linear(x_NC, layer.weight_RC * layer.scale_R[:, None], layer.bias)
    for fast in (True, False):
        monkeypatch.setattr("ropewalk.model.int8.has_byte_products", lambda fast=fast: fast)
        torch.testing.assert_close(layer(x_NC), expected_NR, atol=2e-3, rtol=2e-4)
