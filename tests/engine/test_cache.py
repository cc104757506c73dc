"""What the engine keeps, shares and gives up of its cache changes nothing in what it writes."""

from __future__ import annotations

import random

import pytest
import torch
from tests.engine.small import CONTEXT_TOKENS, new_engine, new_model

from ropewalk.engine.engine import PREFILL_TOKENS, Engine
from ropewalk.engine.sampling import Sampling
from ropewalk.model.cache import PAGE_TOKENS

LONG = "a rope is as long as its walk"  # 29 tokens: a page and a piece


@pytest.fixture
def read(model):
    """The shapes of what the model reads, as it reads it."""
    shapes = []
    hook = model.model.embed_tokens.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape)))
    yield shapes
    hook.remove()


def alone(model, tokenizer, prompt, sampling):
    return new_engine(model, tokenizer, 1).generate([prompt], [sampling])[0]


def test_a_later_request_reads_only_what_is_new(model, tokenizer, read):
    engine = new_engine(model, tokenizer, 2)
    first, later = tokenizer.encode(LONG), tokenizer.encode(LONG + " or so")
    engine.generate([first], [Sampling(1, temperature=0)])
    read.clear()
    made = engine.generate([later], [Sampling(4, seed=1)])[0]
    assert read[0] == (1, len(later) - PAGE_TOKENS)
    assert engine.counts.found_tokens == PAGE_TOKENS
    assert made.ids == alone(model, tokenizer, later, Sampling(4, seed=1)).ids


def test_an_answer_is_part_of_what_a_conversation_begins_with(model, tokenizer):
    engine = Engine(model, tokenizer, frozenset(), slots=1)
    prompt = tokenizer.encode(LONG)
    answer = engine.generate([prompt], [Sampling(8, temperature=0)])[0].ids
    engine.generate([[*prompt, *answer, 65, 66]], [Sampling(1)])
    assert engine.counts.found_tokens == 2 * PAGE_TOKENS


def test_of_requests_that_begin_alike_and_come_together_one_reads_the_beginning(model, tokenizer, read):
    engine = new_engine(model, tokenizer, 4)
    prompts = [tokenizer.encode(LONG[:20] + end) for end in ("abc", "defg", "hi")]
    made = engine.generate(prompts, [Sampling(6, seed=seed) for seed in range(3)])
    assert read[0] == (1, 23)
    assert engine.counts.found_tokens == 2 * PAGE_TOKENS
    for seed, (prompt, one) in enumerate(zip(prompts, made, strict=True)):
        assert one.ids == alone(model, tokenizer, prompt, Sampling(6, seed=seed)).ids


def test_prompts_are_told_of_by_who_asks_even_where_they_are_known(model, tokenizer):
    engine = new_engine(model, tokenizer, 2)
    prompt = tokenizer.encode(LONG)
    asked = Sampling(2, temperature=0, prompt_logprobs=True)
    told = [next(iter(engine.stream([prompt], [asked]))).read for _ in range(2)]
    assert [len(one) for one in told] == [len(prompt)] * 2
    assert [token.logprob for token in told[0]] == pytest.approx([token.logprob for token in told[1]])


def test_a_full_cache_lets_the_newest_wait_and_changes_no_text(model, tokenizer):
    prompts = [tokenizer.encode(text) for text in ("hemp", LONG, "tar", LONG[:20], "yarn", "walk")]
    samplings = [Sampling(40, temperature=0.9, seed=seed, prompt_logprobs=seed == 5) for seed in range(6)]
    expected = []
    for prompt, sampling in zip(prompts, samplings, strict=True):
        lone = Engine(model, tokenizer, frozenset(), slots=1)
        expected.append(list(lone.stream([prompt], [sampling])))
    engine = Engine(model, tokenizer, frozenset(), slots=6, cache_tokens=2 * CONTEXT_TOKENS)
    made = [[] for _ in prompts]
    for token in engine.stream(prompts, samplings):
        made[token.request].append(token)
    assert engine.counts.preemptions > 0
    assert engine.pages.held == 0
    for one, other in zip(made, expected, strict=True):
        assert [token.id for token in one] == [token.id for token in other]
        assert "".join(token.text for token in one) == "".join(token.text for token in other)
        assert len(one[0].read) == len(other[0].read)


def test_a_long_prompt_does_not_stall_who_writes(tokenizer):
    model = new_model(tokenizer, context_tokens=4 * PREFILL_TOKENS)
    engine = Engine(model, tokenizer, frozenset(), slots=2)
    draws = random.Random(0)
    long = [draws.randrange(256) for _ in range(3 * PREFILL_TOKENS)]
    engine.submit(0, tokenizer.encode("hemp"), Sampling(50, seed=1))
    engine.step()
    engine.submit(1, long, Sampling(5, temperature=0))
    steps = [engine.step() for _ in range(3)]
    assert [[token.request for token in tokens] for tokens in steps] == [[0], [0], [1, 0, 1]]
    made = [token.id for token in steps[2] if token.request == 1]
    assert made == alone(model, tokenizer, long, Sampling(2, temperature=0)).ids


def test_what_weights_wrote_is_forgotten_when_they_change(tokenizer):
    model = new_model(tokenizer)
    engine, prompt = new_engine(model, tokenizer, 1), tokenizer.encode(LONG)
    engine.generate([prompt], [Sampling(1)])
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)), alpha=0.05)
    made = engine.generate([prompt], [Sampling(8, temperature=0)])[0]
    fresh = alone(model, tokenizer, prompt, Sampling(8, temperature=0))
    assert engine.counts.found_tokens == 0
    assert made.logprobs == pytest.approx(fresh.logprobs, abs=1e-5)


def test_no_page_stays_behind_two_thousand_requests_of_which_many_are_left(model, tokenizer):
    """They come and go at random, begin alike or not, and want more than the cache has room for."""
    engine = Engine(model, tokenizer, frozenset(range(0, 256, 40)), slots=12, cache_tokens=4 * CONTEXT_TOKENS)
    draws, running, ended, number = random.Random(0), set(), 0, 0
    while number < 2_000 or running:
        while number < 2_000 and len(running) < 20:
            prompt = tokenizer.encode(LONG[: draws.randint(1, 29)] + draws.choice(("", "x", "yz")))
            engine.submit(number, prompt, Sampling(draws.randint(1, 12), seed=number, prompt_logprobs=draws.random() < 0.1))
            running.add(number)
            number += 1
        for token in engine.step():
            assert token.request in running
            if token.finish is not None:
                running.remove(token.request)
                ended += 1
        for left in draws.sample(sorted(running), k=min(len(running), draws.randint(0, 2))):
            engine.cancel(left)
            running.remove(left)
        assert engine.pages.held <= engine.pages.count
        assert engine.running <= 12
    assert 500 < ended < 1_900
    assert engine.idle
    assert engine.pages.held == 0
    assert engine.counts.preemptions > 10
