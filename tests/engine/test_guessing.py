"""Guesses from what a text repeats change nothing in it."""

from __future__ import annotations

import pytest
import torch
from tests.engine.small import CONTEXT_TOKENS, new_tokenizer

from ropewalk.engine.engine import Engine
from ropewalk.engine.grammar import Grammar
from ropewalk.engine.guessing import guess
from ropewalk.engine.sampling import Sampling
from ropewalk.model.config import portable
from ropewalk.model.transformer import Transformer
from ropewalk.tokenizer.special import BOUNDARY

REPEATING = "abcabcabcabc"


@pytest.fixture(scope="module")
def parrot() -> Transformer:
    """A model that often goes on as it did before: its head knows the token that it reads, and little else."""
    tokenizer = new_tokenizer()
    model = Transformer(portable(depth=2, vocabulary=tokenizer.vocabulary, context_tokens=4 * CONTEXT_TOKENS))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.normal_(0, 0.02, generator=generator)
        model.model.embed_tokens.weight.normal_(0, 1, generator=generator)
        successors = torch.arange(tokenizer.vocabulary).roll(1)
        for following, token in zip(b"abc", b"cab", strict=True):
            successors[following] = token
        model.lm_head.weight.copy_(0.06 * model.model.embed_tokens.weight[successors])
    return model.eval()


def test_what_followed_the_latest_time_is_guessed():
    assert guess([1, 2, 3, 4, 5, 1, 2, 3], 8) == [4, 5, 1, 2, 3]
    assert guess([1, 2, 3, 4, 1, 2, 3, 9, 1, 2, 3], 2) == [9, 1]
    assert guess([7, 8, 3, 5, 8, 3], 1) == [5]  # three in a row never were, two were
    assert guess([1, 2, 3], 4) == []
    assert guess([1], 4) == []


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0},
        {"temperature": 1},
        {"temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.1},
        {"temperature": 0.5, "top_logprobs": 2, "stop": ("cabc",)},
        {"temperature": 1, "grammar": Grammar("regex", "[abc]{20,60}")},
    ],
)
def test_texts_are_the_same_with_guesses_and_take_fewer_steps(parrot, sampling):
    tokenizer = new_tokenizer()
    if "grammar" in sampling:
        pytest.importorskip("llguidance")
    texts, ends = [], []
    for guess_tokens in (0, 6):
        engine = Engine(parrot, tokenizer, frozenset({tokenizer.special[BOUNDARY]}), slots=3, guess_tokens=guess_tokens)
        prompts = [tokenizer.encode(text) for text in (REPEATING, "xyz" + REPEATING, "hemp")]
        samplings = [Sampling(60, seed=seed, **sampling) for seed in range(3)]
        steps = 0
        made = [[] for _ in prompts]
        for number, (prompt, one) in enumerate(zip(prompts, samplings, strict=True)):
            engine.submit(number, prompt, one)
        while not engine.idle:
            steps += 1
            for token in engine.step():
                made[token.request].append((token.id, token.text, token.finish, [i for i, _ in token.alternatives]))
                ends += [(guess_tokens, steps)] * (token.finish is not None)
        texts.append(made)
        assert engine.pages.held == 0
    assert texts[0] == texts[1]
    assert sum(steps for tokens, steps in ends if tokens) < sum(steps for tokens, steps in ends if not tokens)


def test_drawn_tokens_follow_the_models_distribution(parrot):
    """Of many draws of what is guessed and checked: chi-square against the probabilities that the model gives them."""
    tokenizer = new_tokenizer()
    engine = Engine(parrot, tokenizer, frozenset(), slots=4, guess_tokens=3)
    prompt, draws = tokenizer.encode(REPEATING), 1_500
    made = engine.generate([prompt] * draws, [Sampling(2, seed=seed) for seed in range(draws)])
    after = [one.ids[1] for one in made if one.ids[0] == prompt[0]]  # the second token, where the first was guessed rightly
    with torch.no_grad():
        logits_V = parrot.logits(parrot(torch.tensor([[*prompt, prompt[0]]])))[0, -1]
    expected_V = logits_V.index_fill(0, engine.banned, -torch.inf).softmax(0) * len(after)
    seen_V = torch.bincount(torch.tensor(after), minlength=tokenizer.vocabulary).float()
    often = expected_V >= 5
    seen, expected = (torch.cat((x_V[often], x_V[~often].sum()[None])) for x_V in (seen_V, expected_V))
    chi_square, freedom = ((seen - expected) ** 2 / expected).sum().item(), len(seen) - 1
    assert len(after) > 200
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5
