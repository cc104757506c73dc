"""The step that is captured on a GPU, called on a CPU: filled batches, tables of whole contexts and one buffer."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from tests.engine.small import new_model

from ropewalk.engine.engine import Engine
from ropewalk.engine.graphs import filled
from ropewalk.engine.sampling import Sampling
from ropewalk.model.config import speed
from ropewalk.model.transformer import Transformer

STOP = frozenset({7})


def engine_of(model: Transformer, tokenizer, *, slots: int, graphs: bool | None, cache_tokens: int | None = None) -> Engine:
    return Engine(model, tokenizer, STOP, slots=slots, graphs=graphs, cache_tokens=cache_tokens)


@pytest.fixture(params=["portable", "speed"])
def model(request, tokenizer) -> Transformer:
    if request.param == "portable":
        return new_model(tokenizer, context_tokens=96)
    made = Transformer(speed(depth=2, vocabulary=tokenizer.vocabulary, context_tokens=96))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(0, 0.15) if weight.ndim else weight.fill_(0.5)
    return made.eval()


def requests(count: int) -> tuple[list[list[int]], list[Sampling]]:
    draws = random.Random(0)
    prompts = [[draws.randrange(8, 256) for _ in range(draws.randrange(1, 50))] for _ in range(count)]
    seeds = range(count)
    return prompts, [
        Sampling(draws.randrange(1, 40), temperature=seed % 2, top_logprobs=seed % 3, seed=seed) for seed in seeds
    ]


@pytest.mark.parametrize("cache_tokens", [None, 160])
def test_answers_are_the_plain_ones_while_texts_come_and_go(model, tokenizer, cache_tokens):
    """With room for less than two whole texts they also lose their pages and get others."""
    engines = [engine_of(model, tokenizer, slots=11, graphs=graphs, cache_tokens=cache_tokens) for graphs in (True, None)]
    found, expected = ([list(engine.stream(*requests(30)))] for engine in engines)
    assert engines[0]._graphs is not None and engines[1]._graphs is None
    assert (engines[0].counts.preemptions > 0) == (cache_tokens is not None)
    for ours, plain in zip(*found, *expected, strict=True):
        assert ours.logprob == pytest.approx(plain.logprob, abs=1e-4)
        nothing = {"logprob": 0.0, "alternatives": ()}
        assert replace(ours, **nothing) == replace(plain, **nothing)
        assert [one for one, _ in ours.alternatives] == [one for one, _ in plain.alternatives]


def test_a_step_is_for_a_few_numbers_of_texts():
    assert [filled(texts) for texts in (1, 2, 3, 5, 8, 9, 16, 17, 100)] == [1, 2, 4, 8, 8, 16, 16, 24, 104]


def test_weights_changed_in_their_places_are_seen(tokenizer):
    model = new_model(tokenizer, context_tokens=96)
    engine = engine_of(model, tokenizer, slots=2, graphs=True)
    samplings = [Sampling(20, temperature=0)]
    before = engine.generate([[9, 10]], samplings)
    with torch.no_grad():
        model.lm_head.weight.mul_(-1)
    after = engine.generate([[9, 10]], samplings)
    assert before[0].ids != after[0].ids
    assert after == engine_of(model, tokenizer, slots=2, graphs=None).generate([[9, 10]], samplings)
