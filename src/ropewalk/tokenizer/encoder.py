"""Encode many texts to ids, as tiktoken does and several times as fast: split, look the piece up, merge only what is new.

Web text repeats its words, so nearly every piece is one that was merged before: a table holds the ids of all pieces met so
far, the vocabulary's tokens first. A new piece is merged as tiktoken merges: of all neighbours whose bytes together are a
token, the pair with the smallest id, the leftmost of several.
"""

from __future__ import annotations

from collections.abc import Mapping
from queue import Empty, SimpleQueue
from typing import NamedTuple

import numpy as np

from ropewalk.tokenizer.compiling import announce, compiled
from ropewalk.tokenizer.counting import Texts
from ropewalk.tokenizer.merging import find_pair
from ropewalk.tokenizer.splitting import RULES, character_classes, piece_end
from ropewalk.tokenizer.table import (
    LONGEST_PACKED,
    NONE,
    Table,
    empty_table,
    find_long,
    find_packed,
    larger,
    long_hash,
    pack,
    value_of,
    with_added,
)

MOST_REMEMBERED = 2_000_000  # pieces; of some 60 bytes
LONGEST_REMEMBERED_BYTES = 128
LOW = 0xFFFFFFFF


class Pairs(NamedTuple):
    """What merging asks: the id of each byte, int32 (256,), and of each pair of tokens that together are one.

    slots: int32, the number of a pair in a slot, or -1. keys: int64, left id << 32 | right id. merged: int32, their token.
    """

    byte_ids: np.ndarray
    slots: np.ndarray
    keys: np.ndarray
    merged: np.ndarray


class Memory(NamedTuple):
    """The pieces met so far; a piece's number is that of its ids << 32 | where they begin in `ids`. used: int64 (1,)."""

    table: Table
    ids: np.ndarray
    used: np.ndarray


class Encoder:
    """Texts to ids. Threads may share one: each takes a memory of its own for the time of a call."""

    def __init__(self, ids: Mapping[bytes, int], *, pattern: str) -> None:
        """Take the id of each token, smaller ones made earlier; every byte that texts will hold must be one.

        Raises:
            KeyError: `pattern` is not one of `splitting.RULES`.
        """
        self._rules = RULES[pattern]
        announce()
        tokens = sorted(ids, key=ids.__getitem__)
        self._tokens = Texts(
            np.frombuffer(b"".join(tokens), dtype=np.uint8), np.cumsum([len(token) for token in tokens], dtype=np.int64)
        )
        self._ids = np.array([ids[token] for token in tokens], dtype=np.int32)
        byte_ids = np.full(256, NONE, dtype=np.int32)
        for byte in range(256):
            byte_ids[byte] = ids.get(bytes([byte]), NONE)
        self._memories: SimpleQueue[Memory] = SimpleQueue()
        first = _memory(self._tokens.bytes, self._tokens.ends, self._ids)
        self._pairs = Pairs(byte_ids, *_pairs(first.table, self._tokens.bytes, self._tokens.ends, self._ids))
        self._memories.put(first)

    def encode(self, texts: Texts) -> tuple[np.ndarray, np.ndarray]:
        """All texts' ids in one uint32 array, and int64 offsets: text i is `ids[offsets[i]:offsets[i + 1]]`."""
        try:
            memory = self._memories.get_nowait()
        except Empty:
            memory = _memory(self._tokens.bytes, self._tokens.ends, self._ids)
        offsets = np.zeros(len(texts.ends) + 1, dtype=np.int64)
        out = np.empty(len(texts.bytes), dtype=np.uint32)
        memory = _encode(memory, self._pairs, texts.bytes, texts.ends, self._rules, character_classes(), out, offsets)
        self._memories.put(memory)
        return out[: offsets[-1]].copy(), offsets


@compiled
def _memory(text, ends, ids):
    """A memory that knows the vocabulary."""
    table = empty_table()
    begin = 0
    for token in range(len(ends)):
        table = with_added(table, text, begin, ends[token], 1 << 32 | token)
        begin = ends[token]
    return Memory(table, ids.copy(), np.array([len(ids)]))


@compiled
def _pairs(table, text, ends, ids):
    """Every way to put a token together from two: slots, keys and merged of `Pairs`."""
    total = len(text)
    keys = np.empty(total, dtype=np.int64)
    merged = np.empty(total, dtype=np.int32)
    size = 1 << 8
    while size < 2 * total:
        size *= 2
    slots = np.full(size, NONE, dtype=np.int32)
    count = begin = 0
    for token in range(len(ends)):
        end = ends[token]
        for cut in range(begin + 1, end):
            left, right = value_of(table, text, begin, cut, NONE), value_of(table, text, cut, end, NONE)
            if left >= 0 and right >= 0:
                key = np.int64(ids[left & LOW]) << 32 | ids[right & LOW]
                slots[find_pair(slots, keys, key)] = count
                keys[count], merged[count] = key, ids[token]
                count += 1
        begin = end
    return slots, keys[:count].copy(), merged[:count].copy()


@compiled
def _encode(memory, pairs, text, ends, rules, classes, out, offsets):
    written = begin = 0
    for document in range(len(ends)):
        at, end = begin, ends[document]
        while at < end:
            table = memory.table
            at, after, written = _encode_known(
                table.packed, table.slots, table.hashes, table.starts, table.values, table.bytes, memory.ids,
                text, at, end, rules, classes, out, written,
            )  # fmt: skip
            if at < end:
                count = _merged(pairs, text, at, after, out, written)
                if after - at <= LONGEST_REMEMBERED_BYTES and table.used[0] + table.used[1] < MOST_REMEMBERED:
                    memory = _remembering(memory, text, at, after, out, written, count)
                written += count
                at = after
        offsets[document + 1] = written
        begin = end
    return memory


@compiled
def _encode_known(packed, slots, hashes, starts, values, held, ids, text, at, end, rules, classes, out, written):
    """Write the ids of pieces that are remembered, until one is not: where that one begins and ends, and how many ids stand.

    A loop by itself, since arrays that may be replaced are slow to reach.
    """
    while at < end:
        after = piece_end(text, at, end, rules, classes)
        if after - at <= LONGEST_PACKED:
            low, high = pack(text, at, after)
            slot = find_packed(packed, low, high)
            if packed[slot, 1] == 0:
                return at, after, written
            value = np.int64(packed[slot, 2])
        else:
            place = slots[find_long(slots, hashes, starts, held, text, at, after, long_hash(text, at, after))]
            if place < 0:
                return at, after, written
            value = values[place]
        first = value & LOW
        for number in range(first, first + (value >> 32)):
            out[written] = ids[number]
            written += 1
        at = after
    return end, end, written


@compiled
def _remembering(memory, text, begin, end, out, written, count):
    """The memory with the ids of a piece, as they stand in `out`."""
    first, ids = memory.used[0], memory.ids
    if first + count > len(ids):
        ids = larger(ids, 2 * len(ids) + count)
    for at in range(count):
        ids[first + at] = out[written + at]
    memory.used[0] = first + count
    return Memory(with_added(memory.table, text, begin, end, count << 32 | first), ids, memory.used)


@compiled
def _merged(pairs, text, begin, end, out, written):
    """Merge a piece and write its ids; returns how many. A heap of pairs by (id, place): n log n, whatever the piece."""
    size = end - begin
    ids = np.empty(size, dtype=np.int32)
    after = np.empty(size, dtype=np.int32)
    before = np.empty(size, dtype=np.int32)
    heap = np.empty(3 * size, dtype=np.int64)
    used = 0
    for at in range(size):
        ids[at] = pairs.byte_ids[text[begin + at]]
        after[at], before[at] = at + 1, at - 1
    for at in range(size - 1):
        merged = _pair_id(pairs.slots, pairs.keys, pairs.merged, ids[at], ids[at + 1])
        if merged >= 0:
            used = _push(heap, used, np.int64(merged) << 32 | at)
    while used > 0:
        top = heap[0]
        used = _pop(heap, used)
        merged, at = np.int32(top >> 32), np.int64(top & 0xFFFFFFFF)
        if ids[at] < 0 or after[at] >= size:
            continue  # what stood here is part of another token by now
        right = after[at]
        if _pair_id(pairs.slots, pairs.keys, pairs.merged, ids[at], ids[right]) != merged:
            continue
        ids[at], ids[right] = merged, NONE
        after[at] = after[right]
        if after[at] < size:
            before[after[at]] = at
            new = _pair_id(pairs.slots, pairs.keys, pairs.merged, merged, ids[after[at]])
            if new >= 0:
                used = _push(heap, used, np.int64(new) << 32 | at)
        if before[at] >= 0:
            new = _pair_id(pairs.slots, pairs.keys, pairs.merged, ids[before[at]], merged)
            if new >= 0:
                used = _push(heap, used, np.int64(new) << 32 | before[at])
    count = at = 0
    while at < size:
        out[written + count] = ids[at]
        count += 1
        at = after[at]
    return count


@compiled
def _pair_id(slots, keys, merged, left, right):
    pair = slots[find_pair(slots, keys, np.int64(left) << 32 | right)]
    return merged[pair] if pair >= 0 else np.int32(NONE)


@compiled
def _push(heap, used, value):
    at = used
    while at > 0 and heap[(at - 1) >> 1] > value:
        heap[at] = heap[(at - 1) >> 1]
        at = (at - 1) >> 1
    heap[at] = value
    return used + 1


@compiled
def _pop(heap, used):
    used -= 1
    value = heap[used]
    at = 0
    while 2 * at + 1 < used:
        below = 2 * at + 1
        if below + 1 < used and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= value:
            break
        heap[at] = heap[below]
        at = below
    heap[at] = value
    return used
