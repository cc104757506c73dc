import random

import numpy as np
import polars as pl

from ropewalk.corpus.duplicates import band_hashes, join_clusters, keepers, text_hash


def bands_of(texts: list[str]) -> list[pl.Series]:
    matrix = np.array([band_hashes(text, bands=14, band_hashes=8) for text in texts], dtype=np.uint64)
    return [pl.Series(column) for column in matrix.T]


def edited(text: str, fraction: float, seed: int) -> str:
    chance = random.Random(seed)
    return " ".join(f"edit{chance.random()}" if chance.random() < fraction else word for word in text.split())


def random_text(seed: int, words: int = 400) -> str:
    chance = random.Random(seed)
    return " ".join(f"w{chance.randrange(5_000)}" for _ in range(words))


def test_near_duplicates_are_found_by_how_much_was_edited():
    """A share s of common shingles is found with probability 1 - (1 - s^8)^14. Edits of 1% leave about 0.9 of them."""
    found = {}
    for fraction in (0.005, 0.01, 0.10):
        texts = [random_text(seed) for seed in range(60)] + [edited(random_text(seed), fraction, seed) for seed in range(60)]
        found[fraction] = int((keepers(bands_of(texts))[60:] == np.arange(60)).sum())
    assert found[0.005] >= 59
    assert found[0.01] >= 57
    assert found[0.10] <= 20


def test_different_texts_are_not_near_duplicates():
    texts = [random_text(seed) for seed in range(300)]
    assert (keepers(bands_of(texts)) == np.arange(300)).all()


def test_short_texts_have_bands_too():
    assert band_hashes("two words", bands=14, band_hashes=8) == band_hashes("Two, words!", bands=14, band_hashes=8)
    assert band_hashes("", bands=2, band_hashes=2) != band_hashes("word", bands=2, band_hashes=2)


def test_bands_are_the_same_on_every_machine():
    """Frozen: signatures made by other versions or machines must compare."""
    frozen = [9074500735538826173, 14598407791580144230]
    assert band_hashes("the quick brown fox jumps over the lazy dog", bands=2, band_hashes=4) == frozen


def test_clusters_agree_with_a_plain_search():
    chance = random.Random(1)
    for _ in range(50):
        count = chance.randrange(1, 60)
        edges = [(chance.randrange(count), chance.randrange(count)) for _ in range(chance.randrange(60))]
        expected = list(range(count))
        for _ in range(count):
            for left, right in edges:
                expected[left] = expected[right] = min(expected[left], expected[right])
        joined = join_clusters(count, np.array(edges, dtype=np.int64).reshape(-1, 2))
        assert joined.tolist() == expected


def test_a_long_chain_is_one_cluster():
    edges = np.stack([np.arange(9_999), np.arange(1, 10_000)], axis=1)
    assert (join_clusters(10_000, edges) == 0).all()


def test_exact_hash_ignores_case_and_spaces_only():
    assert text_hash("The  Sea\n\nis wide") == text_hash("the sea is wide")
    assert text_hash("the sea is wide") != text_hash("the sea is wide.")
