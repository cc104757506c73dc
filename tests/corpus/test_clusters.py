"""Union-find over arrays agrees with a search, whatever the order and the portions of the edges."""

import random

import numpy as np

from ropewalk.corpus.clusters import Clusters


def joined(count: int, *portions: list[tuple[int, int]]) -> list[int]:
    clusters = Clusters(count)
    for edges in portions:
        clusters.join(np.array(edges, dtype=np.int64).reshape(-1, 2))
    return clusters.keepers().tolist()


def searched(count: int, edges: list[tuple[int, int]]) -> list[int]:
    """The plain twin: lower numbers spread along the edges until nothing changes."""
    found = list(range(count))
    while True:
        before = list(found)
        for left, right in edges:
            found[left] = found[right] = min(found[left], found[right])
        if found == before:
            return found


def test_clusters_agree_with_a_plain_search():
    chance = random.Random(1)
    for _ in range(100):
        count = chance.randrange(1, 60)
        edges = [(chance.randrange(count), chance.randrange(count)) for _ in range(chance.randrange(60))]
        cut = chance.randrange(len(edges) + 1)
        assert joined(count, edges[:cut], edges[cut:]) == searched(count, edges) == joined(count, edges[::-1])


def test_a_long_chain_is_one_cluster():
    chain = [(number, number + 1) for number in range(9_999)]
    assert joined(10_000, chain) == [0] * 10_000
    portions = [chain[start : start + 100] for start in range(0, len(chain), 100)]
    assert joined(10_000, *portions) == joined(10_000, *reversed(portions)) == [0] * 10_000
