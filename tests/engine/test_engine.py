"""The engine gives the model's own distribution, whatever else is in the batch."""

from __future__ import annotations

import random

import pytest
import torch
from tests.engine.small import CONTEXT_TOKENS, new_engine

from ropewalk.engine.engine import Engine
from ropewalk.engine.sampling import Sampling, choose
from ropewalk.engine.stopping import StopStrings
from ropewalk.model.config import portable, speed
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.tokenizer.special import PAD


def test_greedy_decoding_is_the_argmax_of_full_forward_passes(model, tokenizer):
    engine = new_engine(model, tokenizer, 2)
    prompt = tokenizer.encode("rope")
    generation = engine.generate([prompt], [Sampling(12, temperature=0)])[0]
    ids = list(prompt)
    for made, logprob in zip(generation.ids, generation.logprobs, strict=True):
        with torch.no_grad():
            logits_V = model.logits(model(torch.tensor([ids])))[0, -1]
        logprobs_V = logits_V.index_fill(0, engine.banned, -torch.inf).log_softmax(-1)
        assert made == logprobs_V.argmax().item()
        assert logprob == pytest.approx(logprobs_V[made].item(), abs=1e-4)
        ids.append(made)


def test_a_request_gives_the_same_text_alone_and_in_a_crowd(model, tokenizer):
    prompts = [tokenizer.encode(text) for text in ("a", "walk the rope", "xyz" * 9, "hemp", "0", "tar and yarn")]
    samplings = [Sampling(5 + 4 * i, temperature=0.9, top_k=40 * (i % 2), top_p=0.9, seed=i) for i in range(6)]
    alone = [new_engine(model, tokenizer, 1).generate([p], [s])[0] for p, s in zip(prompts, samplings, strict=True)]
    crowd = new_engine(model, tokenizer, 4).generate(prompts, samplings)
    assert [one.ids for one in crowd] == [one.ids for one in alone]


@pytest.mark.parametrize("preset", [portable, speed])
def test_prompts_that_are_equal_are_read_once(tokenizer, preset):
    """Samples of one prompt, beside another, are what each is alone; so are those that come when slots are free again."""
    model = Transformer(preset(depth=2, vocabulary=tokenizer.vocabulary, context_tokens=CONTEXT_TOKENS))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.15, generator=generator)
    rope, hemp = tokenizer.encode("walk the rope"), tokenizer.encode("hemp")
    prompts = [rope, hemp, rope, rope, hemp, rope, rope]
    samplings = [Sampling(6, seed=seed) for seed in range(7)]
    alone = [new_engine(model, tokenizer, 1).generate([p], [s])[0] for p, s in zip(prompts, samplings, strict=True)]
    read = []
    model.model.embed_tokens.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].shape))
    crowd = new_engine(model, tokenizer, 5).generate(prompts, samplings)
    assert [one.ids for one in crowd] == [one.ids for one in alone]
    assert len({tuple(one.ids) for one in crowd}) > 4
    assert read[:2] == [(2, len(rope)), (5, 1)]
    for one, other in zip(crowd, alone, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_streaming_yields_what_generate_returns(model, tokenizer):
    engine = new_engine(model, tokenizer, 2)
    sampling = Sampling(20, seed=5)
    prompt = tokenizer.encode("the ")
    streamed = list(engine.stream([prompt], [sampling]))
    whole = engine.generate([prompt], [sampling])[0]
    assert (
        "".join(token.text for token in streamed)
        == whole.text
        == tokenizer.decode([i for i in whole.ids if i not in engine.stop_ids])
    )
    assert [token.finish for token in streamed[:-1]] == [None] * (len(streamed) - 1)


def test_the_caller_may_go_on_with_its_list_of_ids(model, tokenizer):
    """As a conversation with tools does: it appends what was made, and asks again."""
    sampling, ids = Sampling(20, temperature=0), tokenizer.encode("the ")
    whole = new_engine(model, tokenizer, 1).generate([list(ids)], [sampling])[0]
    made = []
    for token in new_engine(model, tokenizer, 1).stream([ids], [sampling]):
        ids.append(token.id)
        made.append(token.id)
    assert made == whole.ids


def test_generation_ends_at_the_context_and_never_beyond(model, tokenizer):
    engine = new_engine(model, tokenizer, 2)
    prompt = tokenizer.encode("x" * (CONTEXT_TOKENS - 5))
    generation = engine.generate([prompt], [Sampling(100, temperature=0)])[0]
    assert generation.finish in {"length", "stop"}
    assert len(prompt) + len(generation.ids) <= CONTEXT_TOKENS
    with pytest.raises(InputError, match="shorten it"):
        engine.generate([tokenizer.encode("x" * CONTEXT_TOKENS)], [Sampling(1)])
    with pytest.raises(InputError, match="0 tokens"):
        engine.generate([[]], [Sampling(1)])


def test_stop_tokens_end_a_request_and_stay_out_of_its_text(model, tokenizer):
    engine = new_engine(model, tokenizer, 1)
    greedy = engine.generate([tokenizer.encode("ab")], [Sampling(8, temperature=0)])[0]
    third = greedy.ids[2]
    stopping = Engine(model, tokenizer, frozenset({third}), slots=1)
    stopping.banned = engine.banned
    stopped = stopping.generate([tokenizer.encode("ab")], [Sampling(8, temperature=0)])[0]
    first = greedy.ids.index(third)
    assert stopped.ids == greedy.ids[: first + 1]
    assert stopped.finish == "stop"


def test_padding_is_never_drawn(model, tokenizer):
    engine = new_engine(model, tokenizer, 8)
    made = engine.generate([tokenizer.encode("z")] * 8, [Sampling(40, temperature=5.0, seed=i) for i in range(8)])
    drawn = {i for one in made for i in one.ids}
    assert tokenizer.special[PAD] not in drawn
    assert len(drawn) > 100


def test_draws_follow_the_distribution():
    logits_V = torch.tensor([2.0, 1.0, 0.0, -1.0])
    draws_B = (torch.arange(20_000) + 0.5) / 20_000
    ids_B = choose(logits_V.expand(20_000, 4), [Sampling(1)] * 20_000, draws_B)
    shares = torch.bincount(ids_B, minlength=4) / 20_000
    torch.testing.assert_close(shares, logits_V.softmax(0), atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(1, top_k=2), {0, 1}),
        (Sampling(1, top_p=0.6), {0}),  # the first alone has 0.64
        (Sampling(1, top_p=0.7), {0, 1}),
        (Sampling(1, top_k=1, temperature=100.0), {0}),
        (Sampling(1, temperature=0), {0}),
    ],
)
def test_cuts_keep_the_most_probable(sampling, kept):
    logits_V = torch.tensor([2.0, 1.0, 0.0, -1.0])
    draws_B = torch.linspace(0, 0.999999, 1001)
    ids_B = choose(logits_V.expand(1001, 4), [sampling] * 1001, draws_B)
    assert set(ids_B.tolist()) == kept


def test_impossible_sampling_is_refused():
    for wrong in ({"max_tokens": 0}, {"max_tokens": 1, "top_p": 0.0}, {"max_tokens": 1, "temperature": -1.0}):
        with pytest.raises(OptionError, match="max_tokens must be"):
            Sampling(**wrong)


def test_requests_join_and_leave_while_others_run(model, tokenizer):
    engine = Engine(model, tokenizer, frozenset(), slots=2)  # nothing ends but by its length
    prompts = [tokenizer.encode(text) for text in ("hemp", "the long rope", "tar")]
    samplings = [Sampling(20, temperature=0.9, seed=seed) for seed in range(3)]
    alone = [engine.generate([prompt], [sampling])[0].ids for prompt, sampling in zip(prompts, samplings, strict=True)]
    made: dict[int, list[int]] = {7: [], 8: [], 9: []}

    def step() -> None:
        for token in engine.step():
            made[token.request].append(token.id)

    engine.submit(7, prompts[0], samplings[0])
    step()
    engine.submit(8, prompts[1], samplings[1])
    engine.submit(9, prompts[2], samplings[2])  # waits: both slots are taken
    step()
    step()
    assert made[9] == []
    engine.cancel(7)
    left = len(made[7])
    step()
    assert made[9]  # the freed slot was taken by the next step
    while not engine.idle:
        step()
    assert made == {7: alone[0][:left], 8: alone[1], 9: alone[2]}


def test_a_stream_that_is_left_leaves_the_engine_idle(model, tokenizer):
    engine = new_engine(model, tokenizer, 1)
    stream = engine.stream([tokenizer.encode("a")] * 3, [Sampling(20, seed=seed) for seed in range(3)])
    next(stream)
    assert not engine.idle
    stream.close()
    assert engine.idle


def test_alternatives_are_the_most_probable_tokens(model, tokenizer):
    engine = new_engine(model, tokenizer, 2)
    prompt = tokenizer.encode("rope")
    samplings = [Sampling(5, temperature=0, top_logprobs=4), Sampling(5, temperature=0)]
    named, unnamed = [], []
    for token in engine.stream([prompt, prompt], samplings):
        (named, unnamed)[token.request].append(token)
    assert [token.id for token in named] == [token.id for token in unnamed]
    for token in named:
        assert token.alternatives[0] == (token.id, token.logprob)
        assert len(token.alternatives) == 4
        logprobs = [logprob for _, logprob in token.alternatives]
        assert logprobs == sorted(logprobs, reverse=True)
        assert not {other for other, _ in token.alternatives} & set(engine.banned.tolist())
    assert all(token.alternatives == () for token in unnamed)


def test_a_stop_string_ends_the_text_wherever_tokens_cut_it(model, tokenizer):
    engine = new_engine(model, tokenizer, 1)  # every token is a byte: all stop strings go across tokens
    prompt = tokenizer.encode("ab")
    whole = engine.generate([prompt], [Sampling(16, temperature=0)])[0]
    text = whole.text
    for start in range(1, len(text) - 3):
        stop = text[start : start + 3]
        stopped = engine.generate([prompt], [Sampling(16, temperature=0, stop=("never", stop))])[0]
        assert stopped.text == text[: text.index(stop)]
        assert stopped.finish == "stop"
        assert stopped.ids == whole.ids[: len(stopped.ids)]
    held = engine.generate([prompt], [Sampling(16, temperature=0, stop=(text[-2:] + "never",))])[0]
    assert (held.text, held.finish) == (text, whole.finish)  # what only began like a stop string comes out at the end


def test_stop_strings_are_found_as_a_whole_text_would_be_cut():
    rng = random.Random(0)
    for _ in range(2_000):
        text = "".join(rng.choices("ab", k=12))
        strings = ["".join(rng.choices("ab", k=rng.randint(1, 4))) for _ in range(2)]
        stops = StopStrings(strings)
        shown = ""
        for character in text:
            piece, met = stops.push(character)
            shown += piece
            if met:
                break
        else:
            shown += stops.flush()
        # The first string to be complete ends the text; of those complete together, the one that began first.
        ends = [text.find(string) + len(string) for string in strings if string in text]
        expected = text
        if ends:
            complete = text[: min(ends)]
            expected = complete[: min(complete.find(string) for string in strings if string in complete)]
        assert shown == expected
