"""A table of pieces of text with a number for each: counts when a vocabulary is learned, ids when text is encoded.

Nearly all pieces of a text have up to 15 bytes. These stand in the table themselves, packed into two words of 64 bits
beside their number, so that one look into memory finds, compares and counts. Longer ones stand in a second table, by a hash.
Both are open addressing, at most half full, and grow as pieces come; functions that may grow a table return it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ropewalk.tokenizer.compiling import compiled, inlined

LONGEST_PACKED = 15
FIRST_SLOTS = 1 << 16
NONE = -1
MIX = np.uint64(0x9E3779B97F4A7C15)
MIX_HIGH = np.uint64(0xC2B2AE3D27D4EB4F)
EIGHT = np.uint64(8)
HALF = np.uint64(32)
LENGTH_SHIFT = np.uint64(56)


class Table(NamedTuple):
    """Pieces with an int64 for each.

    packed: uint64 (slots, 4): a short piece's bytes 0 to 7; its bytes 8 to 14 and, on top, its length (0: a free slot); its
    number. slots: int32, the place of a long piece or -1. hashes: uint64, starts: int64, values: int64 of long pieces in
    order: piece i is bytes[starts[i]:starts[i + 1]]. used: int64 (2,): how many short pieces, how many long ones.
    """

    packed: np.ndarray
    slots: np.ndarray
    hashes: np.ndarray
    starts: np.ndarray
    values: np.ndarray
    bytes: np.ndarray
    used: np.ndarray

    def __len__(self) -> int:
        return int(self.used.sum())


@compiled
def empty_table():
    """No pieces."""
    long = FIRST_SLOTS // 16
    return Table(
        np.zeros((FIRST_SLOTS, 4), dtype=np.uint64),
        np.full(2 * long, NONE, dtype=np.int32),
        np.empty(long, dtype=np.uint64),
        np.zeros(long + 1, dtype=np.int64),
        np.empty(long, dtype=np.int64),
        np.empty(32 * long, dtype=np.uint8),
        np.zeros(2, dtype=np.int64),
    )


@inlined
def pack(text, begin, end):
    """A piece of at most 15 bytes as two words."""
    low, high = np.uint64(0), np.uint64(end - begin) << LENGTH_SHIFT
    shift = np.uint64(0)
    for at in range(begin, min(end, begin + 8)):
        low |= np.uint64(text[at]) << shift
        shift += EIGHT
    shift = np.uint64(0)
    for at in range(begin + 8, end):
        high |= np.uint64(text[at]) << shift
        shift += EIGHT
    return low, high


@inlined
def find_packed(packed, low, high):
    """The slot of a short piece, or the free one where it belongs."""
    last = np.uint64(len(packed) - 1)
    mixed = (low * MIX) ^ (high * MIX_HIGH)
    slot = (mixed ^ (mixed >> HALF)) & last
    while packed[slot, 1] != 0 and (packed[slot, 0] != low or packed[slot, 1] != high):
        slot = (slot + np.uint64(1)) & last
    return slot


@compiled
def long_hash(text, begin, end):
    """A hash of a long piece."""
    value = MIX_HIGH
    for at in range(begin, end):
        value = (value ^ np.uint64(text[at])) * MIX
    return value ^ (value >> HALF)


@compiled
def find_long(slots, hashes, starts, held, text, begin, end, hashed):
    """The slot of a long piece, or the free one where it belongs."""
    last = np.uint64(len(slots) - 1)
    slot = hashed & last
    size = end - begin
    while True:
        piece = slots[slot]
        if piece < 0:
            return slot
        if hashes[piece] == hashed and starts[piece + 1] - starts[piece] == size:
            start = starts[piece]
            at = 0
            while at < size and held[start + at] == text[begin + at]:
                at += 1
            if at == size:
                return slot
        slot = (slot + np.uint64(1)) & last


@compiled
def value_of(table, text, begin, end, missing):
    """A piece's number; `missing` if it is not in the table."""
    if end - begin <= LONGEST_PACKED:
        low, high = pack(text, begin, end)
        slot = find_packed(table.packed, low, high)
        return np.int64(table.packed[slot, 2]) if table.packed[slot, 1] != 0 else missing
    hashed = long_hash(text, begin, end)
    place = table.slots[find_long(table.slots, table.hashes, table.starts, table.bytes, text, begin, end, hashed)]
    return table.values[place] if place >= 0 else missing


@compiled
def with_added(table, text, begin, end, value):
    """The table with `value` added to a piece's number, which is 0 for a new one."""
    if end - begin <= LONGEST_PACKED:
        low, high = pack(text, begin, end)
        return with_added_packed(table, low, high, value)
    hashed = long_hash(text, begin, end)
    slot = find_long(table.slots, table.hashes, table.starts, table.bytes, text, begin, end, hashed)
    place = table.slots[slot]
    if place >= 0:
        table.values[place] += value
        return table
    place, size = table.used[1], end - begin
    if place == len(table.values) or table.starts[place] + size > len(table.bytes):
        table = _with_room(table, size)
        slot = find_long(table.slots, table.hashes, table.starts, table.bytes, text, begin, end, hashed)
    start = table.starts[place]
    table.slots[slot] = place
    table.hashes[place] = hashed
    table.values[place] = value
    for at in range(size):
        table.bytes[start + at] = text[begin + at]
    table.starts[place + 1] = start + size
    table.used[1] = place + 1
    return table


@compiled
def with_added_packed(table, low, high, value):
    """The same for a short piece that is packed already."""
    slot = find_packed(table.packed, low, high)
    if table.packed[slot, 1] == 0:
        if 2 * table.used[0] >= len(table.packed):
            table = _with_more_packed(table)
            slot = find_packed(table.packed, low, high)
        table.packed[slot, 0], table.packed[slot, 1] = low, high
        table.used[0] += 1
    table.packed[slot, 2] += np.uint64(value)
    return table


@compiled
def with_table(table, other, least):
    """The table with all of another one's pieces added that have a number of at least `least`."""
    for slot in range(len(other.packed)):
        value = np.int64(other.packed[slot, 2])
        if other.packed[slot, 1] != 0 and value >= least:
            table = with_added_packed(table, other.packed[slot, 0], other.packed[slot, 1], value)
    for place in range(other.used[1]):
        if other.values[place] >= least:
            table = with_added(table, other.bytes, other.starts[place], other.starts[place + 1], other.values[place])
    return table


@compiled
def listed(table):
    """All pieces as bytes (uint8), starts (int64, one more than there are) and numbers (int64)."""
    short, long = table.used[0], table.used[1]
    text = np.empty(short * LONGEST_PACKED + table.starts[long], dtype=np.uint8)
    starts = np.zeros(short + long + 1, dtype=np.int64)
    values = np.empty(short + long, dtype=np.int64)
    count = written = 0
    for slot in range(len(table.packed)):
        low, high = table.packed[slot, 0], table.packed[slot, 1]
        for at in range(np.int64(high >> LENGTH_SHIFT)):
            word = low if at < 8 else high
            text[written] = (word >> (EIGHT * np.uint64(at & 7))) & np.uint64(0xFF)
            written += 1
        if high != 0:
            values[count] = table.packed[slot, 2]
            count += 1
            starts[count] = written
    for place in range(long):
        size = table.starts[place + 1] - table.starts[place]
        text[written : written + size] = table.bytes[table.starts[place] : table.starts[place + 1]]
        written += size
        values[count] = table.values[place]
        count += 1
        starts[count] = written
    return text[:written].copy(), starts, values


@compiled
def larger(values, size):
    """The same values in a larger array."""
    longer = np.empty(size, dtype=values.dtype)
    longer[: len(values)] = values
    return longer


@compiled
def _with_more_packed(table):
    packed = np.zeros((2 * len(table.packed), 4), dtype=np.uint64)
    for slot in range(len(table.packed)):
        if table.packed[slot, 1] != 0:
            packed[find_packed(packed, table.packed[slot, 0], table.packed[slot, 1])] = table.packed[slot]
    return Table(packed, table.slots, table.hashes, table.starts, table.values, table.bytes, table.used)


@compiled
def _with_room(table, size):
    """The table with room for more long pieces, or for more of their bytes, whichever ran out."""
    slots, hashes, starts, values, held = table.slots, table.hashes, table.starts, table.values, table.bytes
    used = table.used[1]
    if used == len(values):
        hashes, starts, values = larger(hashes, 2 * used), larger(starts, 2 * used + 1), larger(values, 2 * used)
        slots = np.full(4 * used, NONE, dtype=np.int32)
        last = np.uint64(len(slots) - 1)
        for place in range(used):
            slot = hashes[place] & last
            while slots[slot] >= 0:
                slot = (slot + np.uint64(1)) & last
            slots[slot] = place
    if starts[used] + size > len(held):
        held = larger(held, max(2 * len(held), starts[used] + size))
    return Table(table.packed, slots, hashes, starts, values, held, table.used)
