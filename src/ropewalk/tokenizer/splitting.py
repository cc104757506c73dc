"""Split UTF-8 into the pieces that no token crosses: GPT-4's and GPT-2's patterns, compiled by numba.

A regex engine takes most of the time of learning and of encoding (`../shared/research/tokenizer.md`); these patterns need
only four classes of characters and a look at the next one. `tests/tokenizer/test_splitting.py` holds the pieces against
tiktoken's.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from ropewalk.tokenizer.compiling import compiled, inlined
from ropewalk.tokenizer.pattern import GPT2, GPT4

OTHER, LETTER, NUMBER, SPACE, LINE_END = range(5)
GPT4_RULES, GPT2_RULES = range(2)
RULES = {GPT4: GPT4_RULES, GPT2: GPT2_RULES}
MOST_DIGITS = 3  # GPT-4 takes digits in threes


@cache
def character_classes() -> np.ndarray:
    """The class of every code point, uint8 (1,114,112,). Frozen: see `scripts/unicode_classes.py`."""
    table = np.full(0x110000, OTHER, dtype=np.uint8)
    named = {"L": LETTER, "N": NUMBER, "S": SPACE}
    for line in Path(__file__).with_name("unicode_classes.txt").read_text(encoding="ascii").splitlines():
        if not line.startswith("#"):
            name, first, last = line.split()
            table[int(first, 16) : int(last, 16) + 1] = named[name]
    table[[0x0A, 0x0D]] = LINE_END
    return table


@inlined
def code_point(text, at):
    """The code point whose UTF-8 begins at `at`, and how many bytes it has. The text must be well-formed."""
    byte = np.int64(text[at])
    if byte < 0x80:
        return byte, 1
    if byte < 0xE0:
        return (byte & 0x1F) << 6 | (text[at + 1] & 0x3F), 2
    if byte < 0xF0:
        return (byte & 0x0F) << 12 | np.int64(text[at + 1] & 0x3F) << 6 | (text[at + 2] & 0x3F), 3
    high = (byte & 0x07) << 18 | np.int64(text[at + 1] & 0x3F) << 12
    return high | np.int64(text[at + 2] & 0x3F) << 6 | (text[at + 3] & 0x3F), 4


@compiled
def run_end(text, at, end, wanted, classes):
    """Where a run of characters of the class `wanted` ends that begins at `at`, if one does."""
    while at < end:
        byte = text[at]
        if byte < 0x80:
            if classes[byte] != wanted:
                return at
            at += 1
        else:
            code, size = code_point(text, at)
            if classes[code] != wanted:
                return at
            at += size
    return at


@compiled
def contraction_end(text, at, end, any_case):
    """Where 's, 't, 'm, 'd, 're, 've or 'll ends that begins at `at`; `at` itself if none does."""
    fold = 0x20 if any_case else 0
    if at + 1 < end:
        first = text[at + 1] | fold
        if first == 0x73 or first == 0x74 or first == 0x6D or first == 0x64:  # s t m d
            return at + 2
    if at + 2 < end:
        first, second = text[at + 1] | fold, text[at + 2] | fold
        if second == 0x65 and (first == 0x72 or first == 0x76):  # re ve
            return at + 3
        if first == 0x6C and second == 0x6C:  # ll
            return at + 3
        if any_case and text[at + 1] == 0xC5 and text[at + 2] == 0xBF:  # the long s is an s in any case
            return at + 3
    return at


@compiled
def space_end(text, at, end, classes, lines):
    """Where a piece of spaces ends: before the last of them if something follows; with `lines`, behind the last line end."""
    last = line = at
    first = at
    while at < end:
        code, size = code_point(text, at)
        kind = classes[code]
        if kind != SPACE and kind != LINE_END:
            break
        last = at
        at += size
        if kind == LINE_END:
            line = at
    if lines and line > first:
        return line
    return last if at < end and last > first else at


@compiled
def piece_end(text, at, end, rules, classes):
    """Where the piece ends that begins at byte `at` of a document that ends at `end`.

    text: uint8, well-formed UTF-8. rules: of RULES. classes: `character_classes()`.
    """
    byte = text[at]
    code, size = code_point(text, at)
    kind = classes[code]
    gpt4 = rules == GPT4_RULES
    if byte == 0x27:  # an apostrophe
        contraction = contraction_end(text, at, end, gpt4)
        if contraction > at:
            return contraction
    if kind == LETTER:
        return run_end(text, at + size, end, LETTER, classes)
    after = at + size
    if gpt4:
        if kind == NUMBER:
            for _ in range(MOST_DIGITS - 1):
                if after < end:
                    code, size = code_point(text, after)
                    if classes[code] == NUMBER:
                        after += size
            return after
        if kind != LINE_END and after < end:
            code, size = code_point(text, after)
            if classes[code] == LETTER:
                return run_end(text, after + size, end, LETTER, classes)
    if kind == NUMBER:
        return run_end(text, after, end, NUMBER, classes)
    if byte == 0x20 and after < end:  # a space goes with what follows
        code, size = code_point(text, after)
        following = classes[code]
        if following == OTHER:
            at, kind = after, OTHER
        elif not gpt4 and following in (LETTER, NUMBER):
            return run_end(text, after, end, following, classes)
    if kind == OTHER:
        after = run_end(text, at, end, OTHER, classes)
        return run_end(text, after, end, LINE_END, classes) if gpt4 else after
    return space_end(text, at, end, classes, gpt4)


def pieces(text: str, *, pattern: str) -> list[bytes]:
    """The pieces of one text, for people and tests: whole documents go through `piece_end` in compiled loops."""
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    found, at = [], 0
    while at < len(data):
        end = piece_end(data, at, len(data), RULES[pattern], character_classes())
        found.append(data[at:end].tobytes())
        at = end
    return found
