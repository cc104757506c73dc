"""A resumed crawl takes the addresses of a round in the order of an undisturbed one."""

from __future__ import annotations

from ropewalk.crawl.crawl import Frontier
from ropewalk.crawl.ledger import Row

SEEDS = [f"http://{host}.test/{page}" for host in "ab" for page in range(4)]


def row(url: str) -> Row:
    return Row(url=url, depth=0, hop=0, outcome="fetched")


def test_turns_between_hosts_count_what_was_done_before():
    whole = Frontier(SEEDS, max_depth=1).take(0, 0)
    assert whole[:4] == ["http://a.test/0", "http://b.test/0", "http://a.test/1", "http://b.test/1"]
    for done in ([whole[0], whole[2]], whole[:3], [whole[1], whole[3], whole[5]]):
        resumed = Frontier(SEEDS, max_depth=1)
        for url in done:
            resumed.note(row(url))
        assert resumed.take(0, 0) == [url for url in whole if url not in done]


def test_an_address_done_in_an_earlier_round_is_not_taken_again():
    frontier = Frontier(SEEDS, max_depth=1)
    for url in frontier.take(0, 0):
        frontier.note(Row(url=url, depth=0, hop=0, outcome="fetched", links=(*SEEDS, "http://a.test/new")))
    assert frontier.take(1, 0) == ["http://a.test/new"]
