"""The compiled splitter cuts as a regex engine does, and knows letters, numbers and spaces as tiktoken does."""

import random

import pytest
import regex
import tiktoken

from ropewalk.tokenizer.pattern import GPT2, GPT4
from ropewalk.tokenizer.splitting import LETTER, NUMBER, SPACE, character_classes, pieces

ATOMS = [
    *"aBsSlLvVeErRtTdDmM'12²۳éß中!-. ", "  ", "\n", "\r", "\r\n", "\t", "\u3000", "\u00a0", "ſ", "😀", "\u0301", "'ll",
    "'RE", "xyz", "K", "\x00", "\u2028", "123", "    ",
]  # fmt: skip


@pytest.mark.parametrize("pattern", [GPT4, GPT2])
def test_random_texts_are_cut_as_by_a_regex(pattern):
    rng, compiled = random.Random(5), regex.compile(pattern)
    for _ in range(20_000):
        text = "".join(rng.choices(ATOMS, k=rng.randrange(14)))
        assert pieces(text, pattern=pattern) == [piece.encode() for piece in compiled.findall(text)], repr(text)


@pytest.mark.parametrize(("named", "pattern"), [(LETTER, r"\p{L}+"), (NUMBER, r"\p{N}+"), (SPACE, r"[^\S\r\n]+")])
def test_the_frozen_classes_are_tiktoken_s(named, pattern):
    characters = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    ranks = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding("probe", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    matched = set(bytes(encoding.encode_ordinary(characters)).decode())  # what a pattern does not match, tiktoken drops
    classes = character_classes()
    assert {character for character in characters if classes[ord(character)] == named} == matched
