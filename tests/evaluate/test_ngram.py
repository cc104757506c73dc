"""The Kneser-Ney baseline is a probability distribution, and equals a direct reading of Chen & Goodman's formula."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from ropewalk.evaluate.compression import primed_xz_bits_per_byte
from ropewalk.evaluate.ngram import NgramModel

VOCABULARY = 9


@pytest.fixture(scope="module")
def stream() -> np.ndarray:
    rng = np.random.default_rng(4)
    tokens = rng.choice(VOCABULARY, 700, p=np.arange(1, VOCABULARY + 1) / 45)
    return np.concatenate([tokens, tokens[100:300], tokens[50:150]]).astype(np.uint16)


def plain_kneser_ney(stream: np.ndarray, context: tuple[int, ...], token: int, order: int) -> float:
    """The formula, word by word: interpolated, three discounts, continuation counts below the highest order."""
    words = stream.tolist()

    def counts(n: int) -> Counter:
        grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        if n == order:
            return grams
        longer = {tuple(words[i : i + n + 1]) for i in range(len(words) - n)}
        return Counter(gram[1:] for gram in longer)

    probability = 1.0 / VOCABULARY
    for n in range(1, order + 1):
        if len(context) < n - 1:
            break
        c = counts(n)
        n1, n2, n3, n4 = (max(1, sum(1 for value in c.values() if value == k)) for k in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2)
        estimates = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        discount = [0.0, *(d if 0 < d <= c else c / 2 for c, d in enumerate(estimates, start=1))]
        following = defaultdict(dict)
        for gram, value in c.items():
            following[gram[:-1]][gram[-1]] = value
        here = following.get(context[len(context) - n + 1 :])
        if not here:
            break
        total = sum(here.values())
        freed = sum(min(discount[min(value, 3)], value) for value in here.values())
        value = here.get(token, 0)
        probability = max(0.0, value - discount[min(value, 3)]) / total + freed / total * probability
    return probability


def test_probabilities_sum_to_one(stream):
    model = NgramModel(stream, order=4, vocabulary=VOCABULARY)
    for context in ([1], [3, 3, 3], stream[10:13].tolist(), stream[-3:].tolist(), [0, 0, 0, 0, 0, 0]):
        total = sum(math.exp(model.log_probabilities(np.array([*context, token]))[-1]) for token in range(VOCABULARY))
        assert total == pytest.approx(1.0, abs=1e-9)


def test_equals_the_formula(stream):
    model = NgramModel(stream, order=3, vocabulary=VOCABULARY)
    document = np.concatenate([stream[200:215], [0, 1, 0, 8, 8]]).astype(np.uint16)
    found = model.log_probabilities(document)
    for position in range(1, len(document)):
        context = tuple(document[max(0, position - 2) : position].tolist())
        expected = plain_kneser_ney(stream, context, int(document[position]), 3)
        assert found[position - 1] == pytest.approx(math.log(expected), abs=1e-9)


def test_nothing_is_impossible_even_after_templated_text():
    rng = np.random.default_rng(1)
    repeated = np.tile(rng.integers(0, VOCABULARY, 500), 4).astype(np.uint16)  # every n-gram four times or more
    document = repeated[:200].copy()
    document[100] = (document[100] + 1) % VOCABULARY
    model = NgramModel(repeated, order=5, vocabulary=VOCABULARY)
    assert np.isfinite(model.log_probabilities(document)).all()
    total = sum(math.exp(model.log_probabilities(np.array([*document[:4], token]))[-1]) for token in range(VOCABULARY))
    assert total == pytest.approx(1.0, abs=1e-9)


def test_longer_memory_helps_on_repeated_text(stream):
    document = stream[100:200]
    scores = [NgramModel(stream, order=n, vocabulary=VOCABULARY).log_probabilities(document).sum() for n in (1, 2, 4)]
    assert scores[0] < scores[1] < scores[2]


def test_primed_xz_finds_what_it_has_read():
    rng = np.random.default_rng(0)
    known, unknown = rng.bytes(40_000), rng.bytes(40_000)
    assert primed_xz_bits_per_byte(known, known[5_000:35_000]) < 0.3
    assert primed_xz_bits_per_byte(known, unknown) == pytest.approx(8.0, abs=0.1)
