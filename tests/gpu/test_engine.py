"""The engine on a GPU: replayed graphs say what launched kernels and the CPU say."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
import torch
from tests.engine.small import new_tokenizer

from ropewalk.engine.engine import Engine, Token
from ropewalk.engine.sampling import Sampling
from ropewalk.model.config import PRESETS
from ropewalk.model.placing import settle
from ropewalk.model.transformer import Transformer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
TOKENIZER = new_tokenizer()
NEW_TOKENS = 40


def new_model(preset: str) -> Transformer:
    model = Transformer(PRESETS[preset](depth=2, vocabulary=TOKENIZER.vocabulary, context_tokens=256, width=128))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.1) if weight.ndim > 1 else weight.fill_(1.0)
    return model.eval()


def said(model: Transformer, *, graphs: bool | None, temperature: float, slots: int = 11) -> list[list[Token]]:
    """What 30 requests get, which come and go, and have different cuts."""
    draws = random.Random(0)
    prompts = [[draws.randrange(256) for _ in range(draws.randrange(1, 150))] for _ in range(30)]
    cuts: list[dict[str, Any]] = [
        {},
        {"top_p": 0.9},
        {"top_k": 5},
        {"min_p": 0.05, "repetition_penalty": 1.2, "top_logprobs": 3},
    ]
    samplings = [Sampling(NEW_TOKENS, temperature=temperature, seed=seed, **cuts[seed % 4]) for seed in range(30)]
    engine = Engine(model, TOKENIZER, frozenset({0}), slots=slots, graphs=graphs)
    texts: list[list[Token]] = [[] for _ in prompts]
    for token in engine.stream(prompts, samplings):
        texts[token.request].append(token)
    return texts


def agree(found: list[list[Token]], expected: list[list[Token]], *, nats: float) -> float:
    """The fraction of texts that are the same; up to where they part, log-probabilities differ by no more than `nats`."""
    for ours, plain in zip(found, expected, strict=True):
        for one, other in zip(ours, plain, strict=False):
            if one.id != other.id:
                break
            assert one.logprob == pytest.approx(other.logprob, abs=nats)
    pairs = list(zip(found, expected, strict=True))
    return sum([one.id for one in ours] == [one.id for one in plain] for ours, plain in pairs) / len(pairs)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("preset", list(PRESETS))
def test_graphs_say_what_kernels_and_the_cpu_say(preset, temperature):
    """In float32, by the same draws."""
    model = new_model(preset)
    expected = said(model, graphs=None, temperature=temperature)
    model.cuda()
    plain, found = (said(model, graphs=graphs, temperature=temperature) for graphs in (False, None))
    assert agree(plain, expected, nats=1e-3) > 0.85  # a draw may fall where two tokens meet
    assert agree(found, plain, nats=1e-3) > 0.85


@pytest.mark.parametrize("preset", list(PRESETS))
def test_in_bfloat16_graphs_say_about_the_same(preset):
    model = new_model(preset).cuda()
    model.precision = torch.bfloat16
    plain, found = (said(model, graphs=graphs, temperature=0.0) for graphs in (False, None))
    assert agree(found, plain, nats=0.1) > 0.3


def test_what_is_only_read_is_joined_and_says_the_same():
    model = new_model("portable")
    trained = settle(copy.deepcopy(model), "float32")
    read = settle(model, "float32", reading=True)
    assert any(name.endswith("joined") for name, _ in read.named_modules())
    expected, found = (said(each, graphs=None, temperature=0.0) for each in (trained, read))
    assert agree(found, expected, nats=1e-3) > 0.85


def test_graphs_see_weights_that_are_changed_in_their_places():
    model = new_model("portable").cuda()
    model.precision = torch.bfloat16
    engine = Engine(model, TOKENIZER, frozenset({0}), slots=2)
    before = engine.generate([[9, 10]], [Sampling(20, temperature=0.0)])
    with torch.no_grad():
        model.lm_head.weight.mul_(-1)
    after = engine.generate([[9, 10]], [Sampling(20, temperature=0.0)])
    anew = Engine(model, TOKENIZER, frozenset({0}), slots=2).generate([[9, 10]], [Sampling(20, temperature=0.0)])
    assert before[0].ids != after[0].ids == anew[0].ids


def test_a_prompts_own_tokens_are_told():
    model, sampling = new_model("portable"), Sampling(2, temperature=0.0, prompt_logprobs=True, top_logprobs=2)
    told = []
    for device in ("cpu", "cuda"):
        engine = Engine(model.to(device), TOKENIZER, frozenset({0}), slots=1)
        told.append(next(iter(engine.stream([list(range(40))], [sampling]))).read)
    assert [one.id for one in told[0]] == [one.id for one in told[1]]
    assert [one.logprob for one in told[1][1:]] == pytest.approx([one.logprob for one in told[0][1:]], abs=1e-3)
