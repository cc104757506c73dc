"""Pages of the cache: who holds what, and what is found again."""

from __future__ import annotations

import random

from ropewalk.engine.pages import Pages, alike
from ropewalk.model.cache import PAGE_TOKENS


def text(*letters: str, rest: int = 0) -> list[int]:
    """Ids of a full page for each letter, and some more."""
    return [ord(letter) for letter in letters for _ in range(PAGE_TOKENS)] + [0] * rest


def test_a_beginning_is_found_by_whole_pages_and_never_all_of_a_text():
    pages = Pages(8)
    taken = pages.take(3)
    assert taken == [1, 2, 3]
    pages.learn(text("a", "b", rest=5), taken)
    assert pages.find(text("a", "b", rest=1)) == [1, 2]
    assert pages.find(text("a", "b")) == [1]  # something must be read, for there to be logits
    assert pages.find(text("a", "c", rest=1)) == [1]
    assert pages.find(text("b", rest=1)) == []  # a page is known by what stands before it, too


def test_the_page_that_was_left_longest_ago_goes_first_and_ends_before_beginnings():
    pages = Pages(4)
    first, second = pages.take(2), pages.take(2)
    pages.learn(text("a", "b"), first)
    pages.learn(text("c", "d"), second)
    pages.drop(first)
    pages.drop(second)
    pages.hold(pages.find(text("a", rest=1)))  # somebody reads it again
    pages.drop(pages.find(text("a", rest=1)))
    assert sorted(pages.take(2) or []) == [2, 4]
    assert pages.find(text("a", "b", rest=1)) == [1]
    assert pages.find(text("c", "d", rest=1)) == [3]
    assert pages.take(3) is None


def test_no_page_is_lost_or_taken_twice_whatever_comes():
    """Texts of few letters, so that beginnings are common, held and dropped in any order by a cache that is too small."""
    draws, pages = random.Random(0), Pages(12)
    holders: list[tuple[list[int], list[int]]] = []
    says: dict[int, list[int]] = {}  # what was written to a page, the text before it included
    found_pages = 0
    for _ in range(20_000):
        if holders and draws.random() < 0.5:
            ids, held = holders.pop(draws.randrange(len(holders)))
            pages.learn(ids, held)
            pages.drop(held)
        elif draws.random() < 0.001:
            assert pages.held == len({page for _, held in holders for page in held})
            says = {page: says[page] for _, held in holders for page in held}
            pages.forget()
        else:
            ids = text(*draws.choices("ab", k=draws.randint(1, 4)), rest=draws.randint(0, 3))
            found = pages.find(ids)
            assert [says[page] for page in found] == [ids[: (i + 1) * PAGE_TOKENS] for i in range(len(found))]
            pages.hold(found)
            taken = pages.take(-(-len(ids) // PAGE_TOKENS) - len(found))
            if taken is None:
                pages.drop(found)
                continue
            assert not set(taken) & {page for _, held in holders for page in held}
            for place, page in enumerate(taken, start=len(found)):
                says[page] = ids[: (place + 1) * PAGE_TOKENS]
            holders.append((ids, [*found, *taken]))
            found_pages += len(found)
    for _, held in holders:
        pages.drop(held)
    assert found_pages > 1_000
    assert pages.held == 0
    pages.forget()
    assert sorted(pages.take(12) or []) == list(range(1, 13))


def test_texts_are_alike_by_whole_pages():
    assert alike(text("a", "b"), text("a", "b", "c")) == 2
    assert alike(text("a", "b"), text("a", "c")) == 1
    assert alike(text("a")[:-1], text("a")) == 0
