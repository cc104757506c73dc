"""What is learned is what rustbpe learns, and what follows from the definition where rustbpe cannot count."""

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import rustbpe

from ropewalk.tokenizer.counting import Texts, count_texts
from ropewalk.tokenizer.pattern import GPT2, GPT4
from ropewalk.tokenizer.splitting import pieces
from ropewalk.tokenizer.table import empty_table, listed, with_added
from ropewalk.tokenizer.training import merged_tokens


def texts_of(documents):
    encoded = [document.encode() for document in documents]
    return Texts(
        np.frombuffer(b"".join(encoded), dtype=np.uint8), np.cumsum([len(text) for text in encoded], dtype=np.int64)
    )


def counts(table):
    text, starts, values = listed(table)
    return {text[starts[at] : starts[at + 1]].tobytes(): int(value) for at, value in enumerate(values)}


def by_definition(words, count):
    """Tokens by the textbook: count all pairs anew for each merge; of the most frequent the smallest ids."""
    tokens = [bytes([byte]) for byte in range(256)]
    split = {word: list(word) for word in words}
    while len(set(tokens)) < count:
        pairs = Counter()
        for word, ids in split.items():
            for pair in pairwise(ids):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        for word, ids in split.items():
            at, merged = 0, []
            while at < len(ids):
                both = tuple(ids[at : at + 2]) == best
                merged.append(len(tokens) if both else ids[at])
                at += 2 if both else 1
            split[word] = merged
        tokens.append(tokens[best[0]] + tokens[best[1]])
    return list(dict.fromkeys(tokens))


@pytest.mark.parametrize("pattern", [GPT4, GPT2])
def test_pieces_are_counted(source_texts, pattern):
    expected = Counter(piece for text in source_texts[:40] for piece in pieces(text, pattern=pattern))
    for threads in (1, 3):
        batches = iter([texts_of(source_texts[at : at + 5]) for at in range(0, 40, 5)])
        assert counts(count_texts(batches, pattern=pattern, threads=threads)) == expected


def test_rare_pieces_are_forgotten_where_there_are_too_many(source_texts):
    batches = [texts_of(source_texts[at : at + 2]) for at in range(0, 200, 2)]
    whole = counts(count_texts(iter(batches), pattern=GPT4, threads=2))
    few, again = (counts(count_texts(iter(batches), pattern=GPT4, threads=threads, most_pieces=1_000)) for threads in (1, 2))
    assert few == again
    assert len(few) < len(whole) / 3
    assert all(number <= whole[piece] for piece, number in few.items())
    often = sorted(whole, key=whole.__getitem__)[-20:]
    assert all(few[piece] == whole[piece] for piece in often)


@pytest.mark.parametrize("vocabulary", [300, 2_000, 6_000])
def test_tokens_are_those_of_rustbpe(source_texts, vocabulary):
    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(iter(source_texts), vocabulary, pattern=GPT4)
    theirs = [bytes(token) for token, _ in sorted(trainer.get_mergeable_ranks(), key=lambda entry: entry[1])]
    counted = count_texts(iter([texts_of(source_texts)]), pattern=GPT4, threads=1)
    assert merged_tokens(counted, count=vocabulary) == theirs


def test_few_letters_give_tokens_by_definition_each_once():
    rng = random.Random(3)
    for _ in range(60):
        words = {bytes(rng.choices(b"ab", k=rng.randrange(1, 12))): rng.randrange(1, 30) for _ in range(12)}
        table = empty_table()
        for word, number in words.items():
            table = with_added(table, np.frombuffer(word, dtype=np.uint8), 0, len(word), number)
        tokens = merged_tokens(table, count=290)
        assert tokens == by_definition(words, 290)
        assert len(tokens) == len(set(tokens))


def test_counts_beyond_32_bits_do_not_wrap():
    table = empty_table()
    for word, number in ((b"ab", 3_000_000_000), (b"cd", 5_000_000_000), (b"ef", 4_000_000_000), (b"g" * 40, 1)):
        table = with_added(table, np.frombuffer(word, dtype=np.uint8), 0, len(word), number)
    assert merged_tokens(table, count=259)[256:] == [b"cd", b"ef", b"ab"]


def test_giants_are_cut_between_characters():
    giant = "字" * 50_000
    found = counts(count_texts(iter([texts_of([giant, " " * 1_500_000 + "x"])]), pattern=GPT4, threads=1))
    assert max(map(len, found)) <= 1_000
    assert sum(len(piece) * number for piece, number in found.items()) == len(giant.encode()) + 1_500_001
    assert all(piece.decode() for piece in found)
