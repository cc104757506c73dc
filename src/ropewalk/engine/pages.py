"""Who holds which page of the cache, and which pages are worth keeping.

A full page is known by its ids and by the page before it, down to the beginning: whoever begins alike holds the same pages,
and they are read once. A page that nobody holds stays until its room is needed, and the one that was left longest ago goes
first, so that what many requests begin with stays (Kwon et al. 2023, PagedAttention). vLLM knows pages by hashes; here the
page before is named by a number that no other ever had, and two beginnings are never mistaken for each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from ropewalk.model.cache import PAGE_TOKENS

Key = tuple[int, tuple[int, ...]]
START = 0  # the number of what stands before the first page


class Pages:
    """The pages 1 to `count`."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = list(range(count, 0, -1))  # the lowest is taken first: the cache's memory grows with the highest
        self._holders: dict[int, int] = {}
        self._left: dict[int, None] = {}  # known pages that nobody holds, those left longest ago first
        self._known: dict[Key, int] = {}
        self._keys: dict[int, Key] = {}
        self._numbers: dict[int, int] = {}  # a known page's own number, which no other ever had
        self._next_number = itertools.count(START + 1)

    @property
    def held(self) -> int:
        """How many pages somebody holds."""
        return len(self._holders)

    def take(self, count: int) -> list[int] | None:
        """Hold so many pages to write to; None if there are not as many."""
        if count > len(self._free) + len(self._left):
            return None
        while len(self._free) < count:
            self._forget(next(iter(self._left)))
        taken = [self._free.pop() for _ in range(count)]
        self._holders.update(dict.fromkeys(taken, 1))
        return taken

    def find(self, ids: Sequence[int]) -> list[int]:
        """The known pages that a text begins with; at least its last id is left to be read."""
        found = []
        for page, _ in self._walk(ids[: len(ids) - 1]):
            if page is None:
                break
            found.append(page)
        return found

    def hold(self, pages: Sequence[int]) -> None:
        """Hold pages that somebody else may hold too."""
        for page in pages:
            self._left.pop(page, None)
            self._holders[page] = self._holders.get(page, 0) + 1

    def drop(self, pages: Sequence[int]) -> None:
        """Hold pages no more. Known ones are left for later, the end of a text to go before its beginning."""
        for page in reversed(pages):
            self._holders[page] -= 1
            if self._holders[page] == 0:
                del self._holders[page]
                if page in self._keys:
                    self._left[page] = None
                else:
                    self._free.append(page)

    def learn(self, ids: Sequence[int], pages: Sequence[int]) -> None:
        """Note that these pages hold these ids. Of a page that is known already, another copy stays unknown."""
        for place, (page, key) in enumerate(self._walk(ids)):
            if page is None:
                page = pages[place]
                self._known.pop(self._keys.get(page, key), None)  # by a page before it that is gone, nobody finds it
                self._known[key], self._keys[page], self._numbers[page] = page, key, next(self._next_number)

    def forget(self) -> None:
        """Know nothing any more: the weights that wrote the pages have changed."""
        for page in list(self._keys):
            self._forget(page)

    def _walk(self, ids: Sequence[int]) -> Iterator[tuple[int | None, Key]]:
        """The known page, if any, and the key of each full page of ids, until one that is not known by the next step."""
        number = START
        for start in range(0, len(ids) - PAGE_TOKENS + 1, PAGE_TOKENS):
            key = number, tuple(ids[start : start + PAGE_TOKENS])
            yield self._known.get(key), key
            if key not in self._known:
                return
            number = self._numbers[self._known[key]]

    def _forget(self, page: int) -> None:
        del self._known[self._keys.pop(page)], self._numbers[page]
        if page in self._left:
            del self._left[page]
            self._free.append(page)


def alike(ids: Sequence[int], others: Sequence[int]) -> int:
    """How many full pages two texts have in common at their beginnings."""
    most = min(len(ids), len(others))
    differing = next((place for place in range(most) if ids[place] != others[place]), most)
    return differing // PAGE_TOKENS
