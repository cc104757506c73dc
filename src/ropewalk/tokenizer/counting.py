"""Count the different pieces of a corpus in one pass: what BPE learns from.

A table of each thread is added to one in the end: neither order nor number of threads reaches the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np

from ropewalk.tokenizer.compiling import announce, compiled
from ropewalk.tokenizer.splitting import RULES, character_classes, piece_end
from ropewalk.tokenizer.table import (
    LONGEST_PACKED,
    Table,
    empty_table,
    find_long,
    find_packed,
    long_hash,
    pack,
    with_added,
    with_table,
)

LONGEST_PIECE_BYTES = 1_000  # a piece of a megabyte (base64, a genome) would cost a megabyte for each of its merges
MOST_PIECES = 20_000_000  # of some 70 bytes; beyond, those seen once are forgotten, as in any count of a stream
TEXTS_AT_ONCE = 64  # a round: after each the threads' tables are added up


class Texts(NamedTuple):
    """Documents one after the other, well-formed UTF-8, uint8; where each of them ends, int64; how often all count."""

    bytes: np.ndarray
    ends: np.ndarray
    times: int = 1


def join(texts: Iterable[str]) -> Texts:
    """Texts that UTF-8 can hold, one after the other."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
    return Texts(np.frombuffer(b"".join(encoded), dtype=np.uint8), ends)


def count_texts(texts: Iterator[Texts], *, pattern: str, threads: int, most_pieces: int = MOST_PIECES) -> Table:
    """Split documents by a pattern of `splitting.RULES` and count their pieces, on `threads` threads.

    Rounds are cut by the texts alone, so that what is forgotten to stay within `most_pieces` does not hang on the threads.
    """
    announce()
    table = empty_table()
    with ThreadPoolExecutor(threads) as pool:
        while batch := list(islice(texts, TEXTS_AT_ONCE)):
            shares = [batch[thread::threads] for thread in range(threads)]
            for counted in pool.map(lambda share: _count_share(share, RULES[pattern]), shares):
                table = with_table(table, counted, 1)
            least = 2
            while len(table) > most_pieces:
                table, least = with_table(empty_table(), table, least), 2 * least
    return table


def _count_share(share: list[Texts], rules: int) -> Table:
    table = empty_table()
    for text in share:
        table = _count(table, text.bytes, text.ends, text.times, rules, character_classes())
    return table


@compiled
def _count(table, text, ends, times, rules, classes):
    begin = 0
    for document in range(len(ends)):
        at, end = begin, ends[document]
        while at < end:
            at, after = _count_known(
                table.packed,
                table.slots,
                table.hashes,
                table.starts,
                table.values,
                table.bytes,
                text,
                at,
                end,
                times,
                rules,
                classes,
            )
            if at < end:
                table = with_added(table, text, at, after, times)
                at = after
        begin = end
    return table


@compiled
def _count_known(packed, slots, hashes, starts, values, held, text, at, end, times, rules, classes):
    """Count pieces that are in the table, until one is not: where that one begins and ends, or the document's end.

    A loop by itself, since arrays that may be replaced are slow to reach.
    """
    while at < end:
        limit = min(end, at + LONGEST_PIECE_BYTES)
        while limit < end and (text[limit] & 0xC0) == 0x80:  # never within a character
            limit -= 1
        after = piece_end(text, at, limit, rules, classes)
        if after - at <= LONGEST_PACKED:
            low, high = pack(text, at, after)
            slot = find_packed(packed, low, high)
            if packed[slot, 1] == 0:
                return at, after
            packed[slot, 2] += np.uint64(times)
        else:
            place = slots[find_long(slots, hashes, starts, held, text, at, after, long_hash(text, at, after))]
            if place < 0:
                return at, after
            values[place] += times
        at = after
    return end, end
