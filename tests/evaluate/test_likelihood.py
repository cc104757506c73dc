"""The batched scorer gives what reading every pair by itself gives, and needs no more memory for more of them."""

from __future__ import annotations

import numpy as np
import psutil
import pytest
import torch
from tests.engine.small import new_engine, new_model, new_tokenizer

from ropewalk.evaluate.harness import continued, rolled
from ropewalk.evaluate.likelihood import PASS_TOKENS, cut, likelihoods, within
from ropewalk.model.sequences import Answered, documents
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import InputError

CONTEXT_TOKENS = 256


@pytest.fixture(scope="module")
def model() -> Transformer:
    return new_model(new_tokenizer(), context_tokens=CONTEXT_TOKENS)


def alone(model: Transformer, one: Answered) -> tuple[float, bool]:
    """The plain twin: one pair, all logits."""
    ids = torch.from_numpy(one.ids)
    with torch.no_grad():
        logprobs_TV = model.logits(model(ids[None, :-1])[0]).log_softmax(dim=1)
    judged = torch.from_numpy(one.learned[1:])
    targets_N = ids[1:][judged]
    nats_N = logprobs_TV[judged].gather(1, targets_N[:, None])
    return float(nats_N.sum()), bool((logprobs_TV[judged].argmax(dim=1) == targets_N).all())


def greedy_after(model: Transformer, ids: np.ndarray, count: int) -> np.ndarray:
    with torch.no_grad():
        for _ in range(count):
            logits_V = model.logits(model(torch.from_numpy(ids)[None])[0, -1])
            ids = np.append(ids, int(logits_V.argmax()))
    return ids[-count:]


def behind(before: np.ndarray, ending: np.ndarray) -> Answered:
    return Answered(np.concatenate([before, ending]), np.arange(len(before) + len(ending)) >= len(before))


def items(model: Transformer, count: int, *, seed: int) -> list[list[Answered]]:
    """Of the three forms in turn; one ending in three is what the model would say."""
    draws = np.random.default_rng(seed)
    made = []
    for number in range(count):
        before = draws.integers(0, 256, int(draws.integers(1, 90)))
        endings = [draws.integers(0, 256, int(draws.integers(1, 12))) for _ in range(4)]
        endings[1] = greedy_after(model, before, 3)
        if number % 3 == 0:
            made.append([behind(before, ending) for ending in endings])
        elif number % 3 == 1:
            differing = [draws.integers(0, 256, int(draws.integers(1, 9))) for _ in range(2)]
            made.append([behind(np.concatenate([before, part]), endings[0]) for part in differing])
        else:
            made.append([behind(before, endings[1])])
    return made


def test_sharing_and_packing_change_nothing(model):
    some = items(model, 60, seed=5)
    judged = likelihoods(model, some)
    pairs = [
        (one, found) for item, scores in zip(some, judged, strict=True) for one, found in zip(item, scores, strict=True)
    ]
    assert sum(len(one.ids) for one, _ in pairs) > 3 * PASS_TOKENS  # several passes
    greedy = 0
    for one, found in pairs:
        nats, best = alone(model, one)
        assert found.nats == pytest.approx(nats, abs=1e-4)
        assert (found.greedy, found.tokens) == (best, one.tokens)
        greedy += best
    assert 30 <= greedy < len(pairs) / 2


def test_what_an_item_begins_with_is_read_once():
    before, parts = np.arange(100), [np.arange(3) + 200, np.arange(5) + 100, np.arange(4) + 150]
    choices = [behind(before, part) for part in parts]
    (together,) = documents(choices, [0, 0, 0])
    assert (together.places, together.shared_tokens, together.tokens) == ([0, 1, 2], 100, 112)
    schema = [behind(np.concatenate([before, part]), before[:6]) for part in parts[:2]]
    (together,) = documents(schema, [0, 0])
    assert (together.shared_tokens, together.tokens) == (100, 100 + 9 + 11)
    assert [one.places for one in documents(choices, [0, 0, 1])] == [[0, 1], [2]]  # another item's is not looked at
    assert [one.places for one in documents([behind(part, before) for part in parts], [0, 0, 0])] == [[0], [1], [2]]


def test_the_end_of_what_is_too_long_is_judged(model):
    draws = np.random.default_rng(1)
    long = behind(draws.integers(0, 256, CONTEXT_TOKENS + 60), draws.integers(0, 256, 7))
    fitting = within(long, CONTEXT_TOKENS)
    assert (len(fitting.ids), fitting.tokens) == (CONTEXT_TOKENS + 1, 7)
    ((found,),) = likelihoods(model, [[fitting]])
    assert found.nats == pytest.approx(alone(model, fitting)[0], abs=1e-4)
    with pytest.raises(InputError, match="a continuation has 300 tokens, this model reads 256"):
        within(behind(draws.integers(0, 256, 4), draws.integers(0, 256, 300)), CONTEXT_TOKENS)


def test_white_space_goes_to_the_continuation():
    tokenizer = new_tokenizer()
    spaced, joined, bare = cut(
        tokenizer, [("Is it? ", "yes"), ("Is it?", " yes"), ("", "yes")], opening=[], without_context=9
    )
    assert tokenizer.decode(spaced.prompt) == tokenizer.decode(joined.prompt) == "Is it?"
    assert tokenizer.decode(spaced.ids[spaced.learned]) == tokenizer.decode(joined.ids[joined.learned]) == " yes"
    assert bare.ids.tolist() == [9, *b"yes"] and bare.learned.tolist() == [False, True, True, True]
    (opened,) = cut(tokenizer, [("", "yes")], opening=[7], without_context=9)
    assert opened.ids.tolist() == [7, *b"yes"]
    with pytest.raises(InputError, match="adds no token"):
        cut(tokenizer, [("Is it?", "")], opening=[], without_context=9)


def test_memory_does_not_grow(model):
    draws = np.random.default_rng(2)

    def rss_after(count: int) -> float:
        for _ in range(count):
            before = draws.integers(0, 256, 40)
            likelihoods(model, [[behind(before, draws.integers(0, 256, 5)) for _ in range(2)] for _ in range(64)])
        return psutil.Process().memory_info().rss / 1e6

    first = rss_after(4)
    assert rss_after(24) < first + 20


def test_a_long_text_is_judged_in_disjoint_windows(model):
    """What the harness asks for perplexities: each window begins with the last id of the one before."""
    engine = new_engine(model, new_tokenizer(), 1)
    text = "".join(chr(97 + number % 23) for number in range(CONTEXT_TOKENS + 90))
    ids = np.array([7, *text.encode()])
    windows = [behind(ids[:1], ids[1 : CONTEXT_TOKENS + 1]), behind(ids[CONTEXT_TOKENS:][:1], ids[CONTEXT_TOKENS + 1 :])]
    found = rolled(engine, text, start=7)
    assert [one.tokens for one in found] == [CONTEXT_TOKENS, 90]
    assert [one.nats for one in found] == pytest.approx([alone(model, one)[0] for one in windows], abs=1e-2)


def test_the_harness_continuations_end_where_it_says(model):
    """The greedy text, up to a stop string or the most tokens."""
    engine = new_engine(model, new_tokenizer(), 1)
    asked = ("a rope of", {"max_gen_toks": 12})
    (whole,) = continued(engine, [asked], opening=[], start=7)
    greedy = greedy_after(model, np.array([*b"a rope of"]), 12)
    assert whole and engine.tokenizer.decode(greedy.tolist()).startswith(whole)
    (cut_short,) = continued(engine, [(asked[0], {**asked[1], "until": [whole[3]]})], opening=[], start=7)
    assert cut_short == whole.partition(whole[3])[0]
