"""Compiled decoding says what block by block says."""

from __future__ import annotations

import random

import pytest
import torch
from tests.engine.small import new_engine, new_model

from ropewalk.engine.compiled import Groups, compile_decoding
from ropewalk.engine.sampling import Sampling
from ropewalk.model.cache import KeyValueCache
from ropewalk.model.config import speed
from ropewalk.model.int8 import to_int8
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.machine import can_compile

MOST_DIFFERENCE = 1e-4
CONTEXT_TOKENS = 96  # six pages

needs_compiler = pytest.mark.skipif(not can_compile(), reason="no C++ compiler")


@pytest.fixture(scope="module", params=["float32", "int8"])
def model(tokenizer, request) -> Transformer:
    made = new_model(tokenizer, context_tokens=CONTEXT_TOKENS)
    made = to_int8(made) if request.param == "int8" else made
    compile_decoding(made)
    return made


@torch.inference_mode()
def said(model: Transformer, ids_BT: torch.Tensor) -> torch.Tensor:
    """The logits of a token a step, which cross pages and make the cache grow."""
    B, T = ids_BT.shape
    cache = KeyValueCache(model.config, pages=B * 6, dtype=model.precision)
    table_BP = 1 + torch.randperm(B * 6, generator=torch.Generator().manual_seed(0)).view(B, 6)
    steps = []
    for place in range(T):
        table, positions_B1 = table_BP[:, : place // 16 + 1], torch.full((B, 1), place)
        hidden_B1D = model(ids_BT[:, place : place + 1], cache=cache, table_BP=table, positions_BT=positions_B1)
        steps.append(model.logits(hidden_B1D))
    return torch.cat(steps, dim=1)


@needs_compiler
@pytest.mark.parametrize("texts", [1, 2, 5, 16])
def test_logits_are_those_of_block_by_block(model, texts):
    ids_BT = torch.randint(0, 256, (texts, 40), generator=torch.Generator().manual_seed(texts))
    groups = model.decode
    assert isinstance(groups, Groups)
    found = said(model, ids_BT)
    model.decode = None
    expected = said(model, ids_BT)
    model.decode = groups
    assert expected.abs().max() > 1
    assert (found - expected).abs().max() <= MOST_DIFFERENCE


@needs_compiler
def test_greedy_answers_are_those_of_block_by_block(model, tokenizer):
    """With others that come and go, so that batches have many sizes."""
    draws, groups = random.Random(0), model.decode
    prompts = [[draws.randrange(256) for _ in range(draws.randrange(1, 40))] for _ in range(12)]
    samplings = [Sampling(max_tokens=draws.randrange(1, 50), temperature=0) for _ in prompts]
    found = new_engine(model, tokenizer, slots=5).generate(prompts, samplings)
    model.decode = None
    expected = new_engine(model, tokenizer, slots=5).generate(prompts, samplings)
    model.decode = groups
    assert [one.ids for one in found] == [one.ids for one in expected]


@needs_compiler
def test_every_step_goes_through_the_groups(model, tokenizer):
    """What was compiled is used as it is: no number of texts or pages has it compiled anew."""
    with torch.compiler.set_stance("fail_on_recompile"):
        for texts in (1, 3, 7):
            new_engine(model, tokenizer, slots=texts).generate([[7] * 3] * texts, [Sampling(60, temperature=0)] * texts)


def test_without_a_compiler_it_says_so_and_goes_on(tokenizer, capsys, monkeypatch):
    monkeypatch.setenv("CXX", "a-compiler-that-nobody-has")
    model = new_model(tokenizer)
    compile_decoding(model)
    assert model.decode is None
    assert "no C++ compiler" in capsys.readouterr().err


@needs_compiler
def test_a_model_with_extras_stays_as_it_is(capsys):
    model = Transformer(speed(depth=2, vocabulary=300, context_tokens=32))
    compile_decoding(model)
    assert model.decode is None
    assert "not compiled for models with" in capsys.readouterr().err
