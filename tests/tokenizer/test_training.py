from __future__ import annotations

import random
import subprocess
import sys
import time

import numpy as np
import pytest
import tiktoken.load

from ropewalk.artifact import open_artifact, verify
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.tokenizer import TokenizerOptions, run_tokenizer
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.files import merges_of
from ropewalk.tokenizer.special import SPECIAL

RUN = """
import sys
from pathlib import Path
from ropewalk.tokenizer import TokenizerOptions, run_tokenizer
run_tokenizer(TokenizerOptions(corpus=Path(sys.argv[1]), vocabulary=1_500), out=Path(sys.argv[2]))
"""


def test_vocabulary_is_exactly_what_was_asked(tokenizer_folder):
    tokenizer = Tokenizer.load(tokenizer_folder)
    names = [tokenizer.token(index) for index in range(tokenizer.vocabulary)]
    assert tokenizer.vocabulary == 1_500 == len(set(names))
    assert sorted(tokenizer.special.values()) == list(range(1_500 - len(SPECIAL), 1_500))
    assert open_artifact(tokenizer_folder).facts["held_out_bytes_per_token"] > 2
    assert verify(tokenizer_folder) == []


def test_same_bytes_for_any_number_of_threads(tmp_path, corpus, gpt4_folder):
    for workers in (1, 3):
        options = TokenizerOptions(corpus=corpus, vocabulary=1_500, workers=workers)
        made = run_tokenizer(options, out=tmp_path / f"tokenizer-{workers}")
        assert made.digest == open_artifact(gpt4_folder).digest


def test_a_kill_after_learning_does_not_learn_again(tmp_path, corpus, gpt4_folder):
    command = [sys.executable, "-c", RUN, corpus, tmp_path / "tokenizer"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not (tmp_path / "tokenizer.part" / "scratch" / "ranks.tiktoken").is_file():
        assert process.poll() is None
        time.sleep(0.0005)
    process.kill()
    process.wait()
    assert not (tmp_path / "tokenizer").exists()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "carrying on" in done.stderr
    assert "tokenizer: learning" not in done.stderr
    assert open_artifact(tmp_path / "tokenizer").digest == open_artifact(gpt4_folder).digest


def test_too_little_text_says_how_many_could_be_learned(tmp_path, write_corpus):
    corpus = write_corpus(tmp_path / "corpus", ["one two one two one two"] * 3)
    possible = learnable(corpus, tmp_path)
    made = run_tokenizer(TokenizerOptions(corpus=corpus, vocabulary=possible), out=tmp_path / "tokenizer", force=True)
    assert made.facts["vocabulary"] == possible
    assert made.facts["held_out_bytes_per_token"] is None


def test_no_train_documents_is_an_error(tmp_path, write_corpus):
    corpus = write_corpus(tmp_path / "corpus", ["all of it is held out"] * 3, held_out_every=1)
    with pytest.raises(InputError, match="no documents to learn from"):
        run_tokenizer(TokenizerOptions(corpus=corpus, vocabulary=300), out=tmp_path / "tokenizer")


@pytest.mark.parametrize("vocabulary", [261, 0, -1, 2_000_000])
def test_vocabulary_out_of_range_is_an_option_error(tmp_path, corpus, vocabulary):
    with pytest.raises(OptionError, match="vocabulary"):
        run_tokenizer(TokenizerOptions(corpus=corpus, vocabulary=vocabulary), out=tmp_path / "tokenizer")


def test_bytes_alone_are_a_vocabulary(tmp_path, corpus):
    run_tokenizer(TokenizerOptions(corpus=corpus, vocabulary=262), out=tmp_path / "tokenizer")
    assert Tokenizer.load(tmp_path / "tokenizer").encode("hé") == [*"hé".encode()]


def test_documents_that_abort_or_stall_the_trainer(tmp_path, write_corpus):
    rng = random.Random(1)
    genome = "".join(rng.choices("ACGT", k=300_000))
    texts = [" " * 1_500_000 + "x", "\n" * 1_500_000, genome, "plain words, then some more of them " * 50]
    corpus = write_corpus(tmp_path / "corpus", texts)
    run_tokenizer(TokenizerOptions(corpus=corpus, vocabulary=500), out=tmp_path / "tokenizer")
    tokenizer = Tokenizer.load(tmp_path / "tokenizer")
    assert len(tokenizer.encode(genome)) < len(genome) / 2


def test_sample_is_a_fixed_part_of_the_documents(tmp_path, write_corpus):
    texts = [chr(0x4E00 + index) * 3_000 for index in range(700)]
    corpus = write_corpus(tmp_path / "corpus", texts, held_out_every=1_000)
    whole, sampled, again = (learnable(corpus, tmp_path, sample_bytes=size) for size in (10_000_000, 2_000_000, 2_000_000))
    assert 0.2 < sampled / whole < 0.45  # 2 of 6.3 MB, and each document brings tokens of its own
    assert sampled == again


def learnable(corpus, tmp_path, **options):
    """How many tokens the corpus has to give."""
    with pytest.raises(InputError, match="enough for a vocabulary of") as caught:
        run_tokenizer(TokenizerOptions(corpus=corpus, vocabulary=500_000, **options), out=tmp_path / "tokenizer", force=True)
    return int(str(caught.value).split("vocabulary of ")[1].split(":")[0])


def test_files_agree_with_each_other(tokenizer_folder, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    ranks = tiktoken.load.load_tiktoken_bpe(str(tokenizer_folder / "ranks.tiktoken"))
    tokenizer = Tokenizer.load(tokenizer_folder)
    assert [tokenizer.token(index) for index in range(len(ranks))] == sorted(ranks, key=ranks.__getitem__)
    lengths = np.load(tokenizer_folder / "token_bytes.npy")
    assert lengths.dtype == np.int32
    assert lengths.tolist() == tokenizer.bytes_per_token.tolist() == [*map(len, ranks), *([0] * len(SPECIAL))]


def test_merges_are_those_that_were_learned():
    tokens = [*(bytes([byte]) for byte in range(256)), b"ab", b"bc", b"abc", b"aa", b"aaa", b"aaaa"]
    assert merges_of(tokens) == [(b"a", b"b"), (b"b", b"c"), (b"ab", b"c"), (b"a", b"a"), (b"aa", b"a"), (b"aa", b"aa")]


def test_door_imports_nothing_slow():
    code = "import sys, ropewalk.tokenizer; print({'numpy', 'pyarrow', 'tiktoken', 'numba', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-S", "-c", _with_path(code)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def _with_path(code):
    return f"import sys; sys.path[:0] = {sys.path!r}; {code}"
