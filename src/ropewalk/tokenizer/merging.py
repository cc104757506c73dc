"""Byte-pair encoding's merges from counted pieces (Sennrich et al. 2016, algorithm 1): the most frequent pair, and again.

Of equally frequent pairs the smaller pair of ids goes first, as in rustbpe. A merge touches only the words that hold its
pair: each pair keeps a list of them, which may name words that hold it no more. The most frequent pair comes from a heap
whose counts may be too high, for counts of pairs only fall once they stand; one that proves wrong goes back with the right
one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ropewalk.tokenizer.compiling import compiled, inlined
from ropewalk.tokenizer.table import HALF, MIX, NONE, Table, larger, listed


class Merging(NamedTuple):
    """The state between two merges.

    Words are stretches of `symbols` (int32), from `starts`, `lengths` long, each `counts` times in the text. A pair has
    a number, by which stand its `keys` (left << 32 | right), its `totals` in the text and its `posts`, the newest entry
    of its list of words; `slots` finds the number by the key. An entry of a list is a word of `post_words` and the entry
    before it in `post_next`. heap_totals and heap_pairs are one heap. `used` holds the number of pairs, of posts, of
    entries in the heap.
    """

    symbols: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    counts: np.ndarray
    slots: np.ndarray
    keys: np.ndarray
    totals: np.ndarray
    posts: np.ndarray
    post_words: np.ndarray
    post_next: np.ndarray
    heap_totals: np.ndarray
    heap_pairs: np.ndarray
    used: np.ndarray


def start(counted: Table) -> Merging:
    """Words of single bytes, and all their pairs."""
    text, starts, counts = listed(counted)
    symbols = text.astype(np.int32)
    pairs = 1 << 16
    state = Merging(
        symbols=symbols,
        starts=starts[:-1].copy(),
        lengths=np.diff(starts).astype(np.int32),
        counts=counts,
        slots=np.full(2 * pairs, NONE, dtype=np.int32),
        keys=np.empty(pairs, dtype=np.int64),
        totals=np.zeros(pairs, dtype=np.int64),
        posts=np.full(pairs, NONE, dtype=np.int32),
        post_words=np.empty(len(symbols) + 1, dtype=np.int32),
        post_next=np.empty(len(symbols) + 1, dtype=np.int32),
        heap_totals=np.empty(2 * pairs, dtype=np.int64),
        heap_pairs=np.empty(2 * pairs, dtype=np.int32),
        used=np.zeros(3, dtype=np.int64),
    )
    _count_pairs(state)
    return state


def merge(state: Merging, *, first_id: int, merges: int) -> tuple[Merging, np.ndarray]:
    """Merge the most frequent pair `merges` times, new tokens getting ids from `first_id` on.

    Returns:
        The state after it, and int32 (m, 2), the pairs merged, m < merges if no pair is left.
    """
    made = np.empty((merges, 2), dtype=np.int32)
    state, count = _merge(state, first_id, made)
    return state, made[:count]


@inlined
def find_pair(slots, keys, key):
    """The slot of a pair, or the free one where it belongs."""
    mixed = np.uint64(key) * MIX
    last = np.uint64(len(slots) - 1)
    slot = (mixed ^ (mixed >> HALF)) & last
    while slots[slot] >= 0 and keys[slots[slot]] != key:
        slot = (slot + np.uint64(1)) & last
    return slot


@compiled
def _count_pairs(state):
    """Count all pairs of the words, list the words of each, and heap the pairs. All of a byte's pairs have room."""
    slots, keys, totals, posts, used = state.slots, state.keys, state.totals, state.posts, state.used
    for word in range(len(state.starts)):
        start, count = state.starts[word], state.counts[word]
        for at in range(start, start + state.lengths[word] - 1):
            key = np.int64(state.symbols[at]) << 32 | state.symbols[at + 1]
            _raise(slots, keys, totals, posts, state.post_words, state.post_next, used, key, count, word)
    for pair in range(used[0]):
        _push(state.heap_totals, state.heap_pairs, used, keys, totals[pair], pair)


@inlined
def _raise(slots, keys, totals, posts, post_words, post_next, used, key, count, word):
    """Count a pair in a word, and put the word on its list."""
    slot = find_pair(slots, keys, key)
    pair = slots[slot]
    if pair < 0:
        pair = used[0]
        used[0] += 1
        slots[slot] = pair
        keys[pair] = key
        totals[pair] = 0
        posts[pair] = NONE
    totals[pair] += count
    if posts[pair] < 0 or post_words[posts[pair]] != word:
        post = used[1]
        used[1] += 1
        post_words[post] = word
        post_next[post] = posts[pair]
        posts[pair] = post


@compiled
def _merge(state, first_id, made):
    count = 0
    while count < len(made):
        pair = _most_frequent(state.heap_totals, state.heap_pairs, state.used, state.keys, state.totals)
        if pair < 0:
            break
        symbols = 0
        post = state.posts[pair]
        while post >= 0:
            symbols += state.lengths[state.post_words[post]]
            post = state.post_next[post]
        state = _with_room(state, symbols)
        key = state.keys[pair]
        made[count, 0], made[count, 1] = key >> 32, key & 0xFFFFFFFF
        before = state.used[0]
        _merge_words(
            state.symbols, state.starts, state.lengths, state.counts, state.slots, state.keys, state.totals, state.posts,
            state.post_words, state.post_next, state.used, pair, first_id + count,
        )  # fmt: skip
        for new in range(before, state.used[0]):
            if state.totals[new] > 0:
                _push(state.heap_totals, state.heap_pairs, state.used, state.keys, state.totals[new], new)
        count += 1
    return state, count


@compiled
def _merge_words(
    symbols, starts, lengths, counts, slots, keys, totals, posts, post_words, post_next, used, pair, merged
):  # fmt: skip
    """Write `merged` for a pair in all words that hold it, and count what that changes beside it."""
    left, right = np.int32(keys[pair] >> 32), np.int32(keys[pair] & 0xFFFFFFFF)
    post = posts[pair]
    while post >= 0:
        word = post_words[post]
        post = post_next[post]
        start, count = starts[word], counts[word]
        end = start + lengths[word]
        read = write = start
        while read < end:
            if read + 1 < end and symbols[read] == left and symbols[read + 1] == right:
                if write > start:
                    before = np.int64(symbols[write - 1]) << 32
                    totals[slots[find_pair(slots, keys, before | left)]] -= count
                    _raise(slots, keys, totals, posts, post_words, post_next, used, before | merged, count, word)
                if read + 2 < end:
                    after = np.int64(symbols[read + 2])
                    totals[slots[find_pair(slots, keys, np.int64(right) << 32 | after)]] -= count
                    key = np.int64(merged) << 32 | after
                    _raise(slots, keys, totals, posts, post_words, post_next, used, key, count, word)
                symbols[write] = merged
                read += 2
            else:
                symbols[write] = symbols[read]
                read += 1
            write += 1
        lengths[word] = write - start
    totals[pair] = 0


@compiled
def _most_frequent(heap_totals, heap_pairs, used, keys, totals):
    """Take the most frequent pair off the heap; -1 if no pair is left."""
    while used[2] > 0:
        total, pair = heap_totals[0], heap_pairs[0]
        _pop(heap_totals, heap_pairs, used, keys)
        if totals[pair] == total:
            return pair
        if totals[pair] > 0:
            _push(heap_totals, heap_pairs, used, keys, totals[pair], pair)
    return NONE


@inlined
def _goes_first(total, pair, other_total, other_pair, keys):
    return total > other_total or (total == other_total and keys[pair] < keys[other_pair])


@compiled
def _push(heap_totals, heap_pairs, used, keys, total, pair):
    at = used[2]
    used[2] += 1
    while at > 0:
        above = (at - 1) >> 1
        if not _goes_first(total, pair, heap_totals[above], heap_pairs[above], keys):
            break
        heap_totals[at], heap_pairs[at] = heap_totals[above], heap_pairs[above]
        at = above
    heap_totals[at], heap_pairs[at] = total, pair


@compiled
def _pop(heap_totals, heap_pairs, used, keys):
    used[2] -= 1
    size = used[2]
    total, pair = heap_totals[size], heap_pairs[size]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        beside = below + 1
        if beside < size and _goes_first(
            heap_totals[beside], heap_pairs[beside], heap_totals[below], heap_pairs[below], keys
        ):
            below = beside
        if not _goes_first(heap_totals[below], heap_pairs[below], total, pair, keys):
            break
        heap_totals[at], heap_pairs[at] = heap_totals[below], heap_pairs[below]
        at = below
    if size > 0:
        heap_totals[at], heap_pairs[at] = total, pair


@compiled
def _with_room(state, symbols):
    """The state with room for what words of `symbols` symbols can bring: a pair and an entry of a list for each."""
    slots, keys, totals, posts = state.slots, state.keys, state.totals, state.posts
    post_words, post_next = state.post_words, state.post_next
    heap_totals, heap_pairs = state.heap_totals, state.heap_pairs
    pairs, entries, heaped = state.used[0], state.used[1], state.used[2]
    if pairs + symbols > len(keys):
        size = max(2 * len(keys), pairs + symbols)
        keys, totals, posts = larger(keys, size), larger(totals, size), larger(posts, size)
    if 2 * (pairs + symbols) > len(slots):
        size = 2 * len(slots)
        while size < 2 * (pairs + symbols):
            size *= 2
        slots = np.full(size, NONE, dtype=np.int32)
        for pair in range(pairs):
            slots[find_pair(slots, keys, keys[pair])] = pair
    if entries + symbols > len(post_words):
        size = max(len(post_words) + (len(post_words) >> 1), entries + symbols)
        post_words, post_next = larger(post_words, size), larger(post_next, size)
    if heaped + symbols > len(heap_pairs):
        size = max(2 * len(heap_pairs), heaped + symbols)
        heap_totals, heap_pairs = larger(heap_totals, size), larger(heap_pairs, size)
    return Merging(
        state.symbols, state.starts, state.lengths, state.counts, slots, keys, totals, posts, post_words, post_next,
        heap_totals, heap_pairs, state.used,
    )  # fmt: skip
