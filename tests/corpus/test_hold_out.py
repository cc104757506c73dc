"""The held-out split is stable, and none of its passages stand in the training text."""

from __future__ import annotations

import random

import numpy as np
import pytest

from ropewalk.corpus.hold_out import held_out, overlaps, ranks

WORDS = [f"w{number}" for number in range(3_000)]


def aside(pages: list[str], texts, **options) -> set[int]:
    return held_out(np.arange(len(pages)), ranks(pages), texts, **options)


def chosen(pages: list[str], fraction: float) -> set[str]:
    places = aside(pages, lambda: iter(()), fraction=fraction, max_overlap=1.0)
    return {pages[place] for place in places}


def test_the_split_is_stable_as_the_corpus_grows():
    pages = [f"page-{number}" for number in range(1_000)]
    small, large = chosen(pages[:900], 0.02), chosen(pages, 0.02)
    assert (len(small), len(large)) == (18, 20)
    assert len(small & large) >= 15
    assert chosen(random.Random(1).sample(pages, len(pages)), 0.02) == large


@pytest.mark.parametrize(("pages", "fraction", "count"), [(1, 0.5, 0), (3, 0.02, 1), (50, 0.0, 0), (100, 0.07, 7)])
def test_how_many(pages, fraction, count):
    assert len(chosen([str(number) for number in range(pages)], fraction)) == count


def test_overlap_is_the_share_of_runs_that_stand_elsewhere():
    rng = random.Random(0)
    passage = " ".join(rng.choices(WORDS, k=112))  # 100 runs of 13 words
    own = [" ".join(rng.choices(WORDS, k=312)) for _ in range(3)]  # 300 runs
    texts = [own[0], f"{own[1]} {passage}", f"{passage} {own[2]}", passage, own[0].upper()]
    shares = overlaps([0, 1, 2, 3], lambda: enumerate(texts))
    assert shares[0] == 1.0  # the last one says the same in capitals
    assert shares[1] == pytest.approx(100 / 412)
    assert shares[2] == pytest.approx(100 / 412)
    assert shares[3] == 1.0


def test_a_site_whose_pages_share_a_footer_still_holds_some_out(capsys):
    rng = random.Random(2)
    footer = " ".join(rng.choices(WORDS, k=60))
    texts = [" ".join([*rng.choices(WORDS, k=100 + 20 * number), footer]) for number in range(30)]
    pages = [f"page-{number}" for number in range(30)]
    places = aside(pages, lambda: enumerate(texts), fraction=0.1, max_overlap=0.05)
    assert places == {27, 28, 29}  # the longest share least
    assert "only 0 of 3" in capsys.readouterr().err


def test_documents_that_share_passages_stay_in_training():
    rng = random.Random(1)
    texts = [" ".join(rng.choices(WORDS, k=200)) for _ in range(100)]
    for number in range(0, 100, 2):  # half of them also stand in one large page
        texts.append(texts[number])
    pages = [f"page-{number}" for number in range(len(texts))]
    places = aside(pages, lambda: enumerate(texts), fraction=0.1, max_overlap=0.1)
    assert len(places) == 15
    assert all(place % 2 == 1 and place < 100 for place in places)


def test_memory_for_fewer_runs_gives_estimates_of_the_same_shares():
    rng = random.Random(3)
    shared = [" ".join(rng.choices(WORDS, k=1_012)) for _ in range(4)]
    texts = [f"{shared[number % 4]} {' '.join(rng.choices(WORDS, k=1_000 * (number + 1)))}" for number in range(8)]
    texts.append("too few words for a run to be looked at")
    whole = overlaps(list(range(9)), lambda: enumerate(texts))
    sampled = overlaps(list(range(9)), lambda: enumerate(texts), most_runs=5_000)
    assert sampled != whole
    assert sampled == overlaps(list(range(9)), lambda: reversed(list(enumerate(texts))), most_runs=5_000)
    assert [sampled[number] for number in range(8)] == pytest.approx([whole[number] for number in range(8)], abs=0.1)
    assert (whole[8], sampled[8]) == (0.0, 1.0)  # it might stand elsewhere: nothing was looked at
