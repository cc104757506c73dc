"""Cuts, penalties and biases do what their definitions say, to the requests that ask for them and to no others."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from tests.engine.small import new_engine

from ropewalk.engine.sampling import Sampling, choose, draw_plainly
from ropewalk.engine.weighing import Weighing, weighed
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.runtime.seeds import generator
from ropewalk.tokenizer.special import BOUNDARY, PAD


def plainly_weighed(logits, prompt, made, sampling):
    """The twin: one token after the other, as the definitions read."""
    counts, bias = Counter(made), dict(sampling.logit_bias)
    weighed_ones = []
    for token_id, score in enumerate(logits):
        if token_id in counts or token_id in prompt:
            score = score / sampling.repetition_penalty if score > 0 else score * sampling.repetition_penalty
        score -= sampling.frequency_penalty * counts[token_id] + sampling.presence_penalty * (counts[token_id] > 0)
        weighed_ones.append(score + bias.get(token_id, 0.0))
    return weighed_ones


WEIGHTS = [
    Sampling(9, repetition_penalty=1.3),
    Sampling(9, presence_penalty=0.7),
    Sampling(9, frequency_penalty=-0.4),
    Sampling(9, logit_bias=((3, 5.0), (19, -100.0))),
    Sampling(9, repetition_penalty=0.8, presence_penalty=-1.0, frequency_penalty=0.3, logit_bias=((0, 1.5), (7, -2.0))),
]


def test_penalties_and_biases_are_what_their_definitions_say():
    rng = np.random.default_rng(0)
    logits_BV = torch.from_numpy(rng.normal(size=(len(WEIGHTS) + 1, 20)).astype(np.float32))
    logits_BV[:, 5] = -torch.inf  # a banned token stays so
    weighings, expected = {}, [logits_BV[0].tolist()]
    for row, sampling in enumerate(WEIGHTS, start=1):  # row 0 asks for nothing
        prompt, made = rng.integers(0, 20, 6).tolist(), rng.integers(0, 20, 9).tolist()
        weighings[row] = Weighing(prompt, sampling, most_tokens=9)
        for token_id in made:
            weighings[row].push(token_id)
        expected.append(plainly_weighed(logits_BV[row].tolist(), prompt, made, sampling))
    before = logits_BV.clone()
    torch.testing.assert_close(weighed(logits_BV, weighings), torch.tensor(expected))
    assert torch.equal(logits_BV, before)


def test_what_asks_for_nothing_is_not_copied():
    logits_BV = torch.zeros(2, 3)
    assert weighed(logits_BV, {}) is logits_BV


def test_a_request_is_weighed_by_its_own_text_only(model, tokenizer):
    engine = new_engine(model, tokenizer, 4)
    prompt = tokenizer.encode("rope")
    plain = engine.generate([prompt], [Sampling(20, temperature=0)])[0]
    samplings = [
        Sampling(20, temperature=0),
        Sampling(20, temperature=0, presence_penalty=1e6),
        Sampling(20, temperature=0, logit_bias=((plain.ids[0], -1e6), (tokenizer.special[PAD], 1e6))),
    ]
    beside, unrepeated, biased = engine.generate([prompt] * 3, samplings)
    assert beside.ids == plain.ids
    assert len(set(unrepeated.ids)) == len(unrepeated.ids)
    assert unrepeated.ids[0] == plain.ids[0]
    assert plain.ids[0] not in biased.ids
    assert tokenizer.special[PAD] not in biased.ids  # banned, whatever the bias
    assert unrepeated.logprobs[0] == pytest.approx(plain.logprobs[0], abs=1e-5)  # log-probabilities are the model's own


def test_a_stop_token_can_be_biased_away(model, tokenizer):
    engine = new_engine(model, tokenizer, 1)
    always = tuple((stop, 1e6) for stop in engine.stop_ids)
    never = tuple((stop, -1e6) for stop in engine.stop_ids)
    ended, went_on = (engine.generate([[1]], [Sampling(30, logit_bias=bias)])[0] for bias in (always, never))
    assert (len(ended.ids), ended.finish) == (1, "stop")
    assert (len(went_on.ids), went_on.finish) == (30, "length")


def test_min_p_keeps_what_comes_near_the_most_probable():
    logits_V = torch.tensor([2.0, 1.0, 0.0, -1.0])  # the others have 0.37, 0.14 and 0.05 of the first's probability
    draws_B = torch.linspace(0, 0.999999, 1001)
    for sampling, kept in (
        (Sampling(1, min_p=0.3), {0, 1}),
        (Sampling(1, min_p=0.1), {0, 1, 2}),
        (Sampling(1, min_p=1.0), {0}),
        (Sampling(1, min_p=0.1, temperature=0.5), {0, 1}),  # squared: 0.14, 0.02
        (Sampling(1, min_p=0.1, top_k=2), {0, 1}),
        (Sampling(1, min_p=0.3, top_p=0.99), {0, 1}),
        (Sampling(1), {0, 1, 2, 3}),
    ):
        others = [Sampling(1)] * 1001  # a crowd that cuts nothing
        ids_B = choose(logits_V.expand(2002, 4), [sampling] * 1001 + others, torch.cat([draws_B, draws_B]))
        assert set(ids_B[:1001].tolist()) == kept
        assert set(ids_B[1001:].tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1),
        Sampling(1, temperature=1.7),
        Sampling(1, temperature=0.8, top_k=12),
        Sampling(1, top_p=0.8),
        Sampling(1, min_p=0.2),
        Sampling(1, temperature=1.3, top_k=15, top_p=0.9, min_p=0.05),
    ],
)
def test_draws_of_20_000_seeds_pass_a_chi_square_test(sampling):
    """Against the distribution as its definition reads; a wrong sampler fails by orders of magnitude."""
    logits = np.random.default_rng(1).normal(0, 1.5, 20).astype(np.float32)
    weights = np.exp(logits / sampling.temperature) / np.exp(logits / sampling.temperature).sum()
    order = np.argsort(-weights)
    kept = np.zeros(20, dtype=bool)
    for rank, token_id in enumerate(order):
        within = rank < (sampling.top_k or 20) and weights[order[:rank]].sum() < sampling.top_p
        kept[token_id] = within and weights[token_id] >= sampling.min_p * weights.max()
    expected = np.where(kept, weights, 0) / weights[kept].sum()
    draws_B = torch.tensor([generator("sampling", seed).random(dtype=np.float32) for seed in range(20_000)])
    ids_B = choose(torch.from_numpy(logits).expand(20_000, 20), [sampling] * 20_000, draws_B)
    counts = np.bincount(ids_B.numpy(), minlength=20)
    assert not counts[~kept].any()
    chi_square = ((counts[kept] - 20_000 * expected[kept]) ** 2 / (20_000 * expected[kept])).sum()
    freedom = kept.sum() - 1
    assert chi_square < freedom + 4 * np.sqrt(2 * freedom) + 4  # beyond the 99.9th percentile for 1 to 19 degrees


def drawn(logits_BV: torch.Tensor, samplings: list[Sampling], draws_B: torch.Tensor, banned: list[int]):
    """What the loop draws, and what `choose` does with the log-probabilities of that."""
    ids = torch.tensor(banned, dtype=torch.long)
    allowed_BV = logits_BV.index_fill(1, ids, -torch.inf)
    expected_B = choose(allowed_BV, samplings, draws_B)
    found_B, logprobs_B = draw_plainly(logits_BV.clone(), ids, samplings, draws_B)
    return found_B, logprobs_B, expected_B, allowed_BV.log_softmax(dim=1)


@pytest.mark.parametrize("vocabulary", [4, 1024, 1025, 5000])
def test_the_loop_draws_what_its_plain_twin_does(vocabulary):
    """But where the running sum passes the draw within rounding."""
    generator_of = torch.Generator().manual_seed(vocabulary)
    logits_BV = 4 * torch.randn(600, vocabulary, generator=generator_of)
    logits_BV[0] = 0.0
    logits_BV[1:5] *= 100  # all but one have no probability
    draws_B = torch.rand(600, generator=generator_of)
    draws_B[:4] = torch.tensor([0.0, 1 - 2**-24, 0.0, 1 - 2**-24])
    samplings = [Sampling(1, temperature=(0.0, 0.3, 1.0, 2.5, 1e-6)[row % 5]) for row in range(600)]
    found_B, logprobs_B, expected_B, all_BV = drawn(logits_BV, samplings, draws_B, [1, 3])
    assert not torch.isin(found_B, torch.tensor([1, 3])).any()
    assert (found_B == expected_B).float().mean() > 0.99
    torch.testing.assert_close(logprobs_B, all_BV.gather(1, found_B[:, None])[:, 0], atol=2e-5, rtol=1e-5)
    greedy = [row for row, sampling in enumerate(samplings) if not sampling.temperature]
    assert torch.equal(found_B[greedy], expected_B[greedy])


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.7])
def test_the_loop_s_draws_pass_a_chi_square_test(temperature):
    logits = np.random.default_rng(1).normal(0, 1.5, 20).astype(np.float32)
    expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    draws_B = torch.tensor([generator("sampling", seed).random(dtype=np.float32) for seed in range(20_000)])
    logits_BV = torch.from_numpy(logits).repeat(20_000, 1)
    ids_B, _, _, _ = drawn(logits_BV, [Sampling(1, temperature=temperature)] * 20_000, draws_B, [])
    counts = np.bincount(ids_B.numpy(), minlength=20)
    assert ((counts - 20_000 * expected) ** 2 / (20_000 * expected)).sum() < 19 + 4 * np.sqrt(38) + 4


def test_samplings_that_ask_for_more_are_not_plain():
    assert Sampling(1, temperature=0.3, seed=4, stop=("x",)).plain
    asking = Sampling(1, top_k=3), Sampling(1, top_p=0.9), Sampling(1, min_p=0.1), Sampling(1, top_logprobs=1)
    assert not any(sampling.plain for sampling in (*asking, Sampling(1, logit_bias=((1, 2.0),))))


def test_a_seed_replays_a_text_exactly(model, tokenizer):
    sampling = Sampling(25, temperature=1.2, top_p=0.9, min_p=0.01, repetition_penalty=1.1, presence_penalty=0.5, seed=7)
    first = new_engine(model, tokenizer, 1).generate([tokenizer.encode("tar")], [sampling])
    again = new_engine(model, tokenizer, 1).generate([tokenizer.encode("tar")], [sampling])
    assert first == again


def test_the_prompt_s_own_tokens_are_scored(model, tokenizer):
    engine = new_engine(model, tokenizer, 2)
    prompts = [tokenizer.encode("rope and tar"), [tokenizer.special[BOUNDARY], 97, 98]]
    samplings = [Sampling(2, temperature=0, top_logprobs=3, prompt_logprobs=True)] * 2
    read = {}
    for token in engine.stream(prompts, samplings):
        if token.read:
            assert token.request not in read
            read[token.request] = token.read
    for number, prompt in enumerate(prompts):
        with torch.inference_mode():
            logits_TV = model.logits(model(torch.tensor([prompt])))[0].index_fill(1, engine.banned, -torch.inf)
        logprobs_TV = logits_TV.log_softmax(-1)
        assert [token.id for token in read[number]] == prompt
        assert read[number][0].logprob is None
        for place, token in enumerate(read[number][1:]):
            assert token.logprob == pytest.approx(logprobs_TV[place, token.id].item(), abs=1e-4)
            assert token.alternatives[0][1] == pytest.approx(logprobs_TV[place].max().item(), abs=1e-4)
            assert len(token.alternatives) == 3


def test_ids_that_are_no_tokens_are_refused(model, tokenizer):
    engine = new_engine(model, tokenizer, 1)
    for prompt, sampling in (
        ([tokenizer.vocabulary], Sampling(1)),
        ([-1], Sampling(1)),
        ([1], Sampling(1, logit_bias=((tokenizer.vocabulary, 1.0),))),
    ):
        with pytest.raises(InputError, match="token ids must be 0 to 261"):
            engine.submit(0, prompt, sampling)
    assert engine.idle


def test_impossible_cuts_are_refused():
    for wrong in ({"min_p": 1.5}, {"min_p": -0.1}, {"repetition_penalty": 5e-324}):
        with pytest.raises(OptionError, match="min_p must be"):
            Sampling(1, **wrong)
