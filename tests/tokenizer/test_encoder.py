"""What encodes corpora gives tiktoken's ids, whatever the text, the vocabulary and what it has met before."""

import gzip
import importlib.util
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ropewalk.tokenizer.encoder import LONGEST_REMEMBERED_BYTES
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.pattern import GPT4


def same_ids(tokenizer, texts):
    ids, offsets = tokenizer.encode_batch(texts)
    assert ids.dtype == np.uint32
    assert len(offsets) == len(texts) + 1
    for number, text in enumerate(texts):
        assert ids[offsets[number] : offsets[number + 1]].tolist() == tokenizer.encode(text), repr(text[:100])


def fuzzed(seed, count):
    rng = random.Random(seed)
    atoms = [
        *"abcdeABC' \n\t.,!?-12中é😀\u0301ſ\u3000",
        "  ",
        "the",
        "ing",
        "'s",
        "'RE",
        "\r\n",
        "def ",
        "    ",
        "\ud800",
        "<|endoftext|>",
    ]
    return ["".join(rng.choices(atoms, k=rng.randrange(20))) for _ in range(count)]


def test_ids_are_tiktoken_s(tokenizer_folder, source_texts):
    tokenizer = Tokenizer.load(tokenizer_folder)
    assert tokenizer.encoder is not None
    for _ in range(2):  # the second time all pieces are remembered
        same_ids(tokenizer, source_texts)
    same_ids(tokenizer, fuzzed(1, 5_000))


def test_every_code_point(tokenizer_folder):
    tokenizer = Tokenizer.load(tokenizer_folder)
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    same_ids(
        tokenizer, ["".join(f"a{chr(code)} 1" for code in codes[at : at + 5_000]) for at in range(0, len(codes), 5_000)]
    )


def test_giants_and_nothing(tokenizer_folder):
    tokenizer = Tokenizer.load(tokenizer_folder)
    rng = random.Random(2)
    letters = "".join(rng.choices("abcdefghijklmnop", k=200_000))
    same_ids(
        tokenizer,
        ["", "a" * 200_000, letters, "!" * 100_000 + "-=" * 50_000, "", "字" * 50_000, "x" * LONGEST_REMEMBERED_BYTES * 3],
    )
    ids, _ = tokenizer.encode_batch([" " * 2_000_000])
    assert tokenizer.decode(ids.tolist()) == " " * 2_000_000
    assert tokenizer.encode_batch([])[1].tolist() == [0]


def test_threads_change_nothing(tokenizer_folder, source_texts):
    tokenizer = Tokenizer.load(tokenizer_folder)
    ids, offsets = tokenizer.encode_batch(source_texts)
    with ThreadPoolExecutor(3) as pool:
        again, their_offsets = tokenizer.encode_batch(source_texts, pool=pool)
    assert np.array_equal(ids, again)
    assert np.array_equal(offsets, their_offsets)


@pytest.mark.peer
def test_gpt4_s_own_vocabulary(source_texts):
    folder = Path(importlib.util.find_spec("bpe_openai").submodule_search_locations[0])
    with gzip.open(folder / "data" / "cl100k_base.tiktoken.gz", "rt") as file:
        import base64

        tokens = [base64.b64decode(line.split()[0]) for line in file if line.strip()]
    tokenizer = Tokenizer(tokens, pattern=GPT4, special={"<|endoftext|>": len(tokens)})
    same_ids(tokenizer, source_texts)
    same_ids(tokenizer, fuzzed(7, 50_000))
