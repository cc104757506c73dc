from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from ropewalk.artifact import build, open_artifact, verify
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.tokenizer import TokenizeOptions, run_tokenize
from ropewalk.tokenizer.chat import render
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.files import Vocabulary, split_by, write_tokenizer
from ropewalk.tokenizer.pattern import GPT4
from ropewalk.tokenizer.shards import TokenReader
from ropewalk.tokenizer.special import special_ids

RUN = """
import sys
from pathlib import Path
from ropewalk.tokenizer import TokenizeOptions, run_tokenize
tokenizer, corpus, out = map(Path, sys.argv[1:])
run_tokenize(TokenizeOptions(tokenizer=tokenizer, corpus=corpus, shard_tokens=2_000, workers=2), out=out)
"""


@pytest.fixture(scope="session")
def tokens(tmp_path_factory, corpus, gpt4_folder):
    options = TokenizeOptions(tokenizer=gpt4_folder, corpus=corpus, shard_tokens=2_000, workers=1)
    return run_tokenize(options, out=tmp_path_factory.mktemp("tokens") / "tokens").path


def test_every_document_stands_in_order_behind_a_boundary(tokens, corpus, gpt4_folder):
    reader, tokenizer = TokenReader(tokens), Tokenizer.load(gpt4_folder)
    rows = pq.read_table(corpus / "documents-00000.parquet").to_pylist()
    assert len(reader.documents) == len(rows)
    expected_first = 0
    for document, row in zip(reader.documents, rows, strict=True):
        assert document["first_token"] == expected_first
        ids = reader.read(int(document["first_token"]), int(document["tokens"])).tolist()
        assert ids[0] == tokenizer.special["<|endoftext|>"]
        assert tokenizer.decode(ids[1:]) == row["text"]
        assert bytes(document["page_id"]).hex() == row["page_id"]
        assert document["held_out"] == (row["split"] == "held_out")
        expected_first += len(ids)
    assert reader.total_tokens == expected_first


def test_facts_add_up(tokens, corpus):
    reader = TokenReader(tokens)
    texts = pq.read_table(corpus / "documents-00000.parquet").column("text").to_pylist()
    facts, documents = reader.facts, reader.documents
    text_bytes = sum(len(text.encode()) for text in texts)
    assert facts["bytes"] == text_bytes
    assert facts["documents"] == len(texts)
    assert facts["tokens"] == documents["tokens"].sum() == reader.total_tokens
    assert facts["held_out_tokens"] == documents["tokens"][documents["held_out"] == 1].sum() > 0
    assert facts["bytes_per_token"] == round(text_bytes / (reader.total_tokens - len(texts)), 4)
    assert facts["dtype"] == "uint16"
    assert facts["shards"] == len(list(tokens.glob("tokens-*.bin"))) > 20
    assert reader.digest == open_artifact(tokens).digest
    assert verify(tokens) == []


def test_shards_end_with_documents_and_keep_to_their_size(tokens):
    reader = TokenReader(tokens)
    sizes = [path.stat().st_size // 2 for path in sorted(tokens.glob("tokens-*.bin"))]
    lengths = reader.documents["tokens"].tolist()
    ends = set(np.cumsum(lengths).tolist())
    assert set(np.cumsum(sizes).tolist()) <= ends
    assert all(size <= 2_000 or size in lengths for size in sizes)


def test_reading_spans_shards(tokens):
    reader = TokenReader(tokens)
    flat = np.concatenate([np.fromfile(path, "<u2") for path in sorted(tokens.glob("tokens-*.bin"))])
    rng = np.random.default_rng(0)
    for first in [0, *rng.integers(0, len(flat) - 9_000, 50).tolist(), len(flat)]:
        count = min(int(rng.integers(0, 9_000)), len(flat) - first)
        read = reader.read(first, count)
        assert read.dtype == np.uint16
        assert np.array_equal(read, flat[first : first + count])
        assert reader.read_mask(first, count).tolist() == [1] * count
    for first, count in [(-1, 2), (0, len(flat) + 1), (len(flat), 1)]:
        with pytest.raises(AssertionError):
            reader.read(first, count)


@pytest.mark.parametrize("workers", [0, 8])
def test_same_bytes_for_any_number_of_workers(tmp_path, tokens, corpus, gpt4_folder, workers):
    options = TokenizeOptions(tokenizer=gpt4_folder, corpus=corpus, shard_tokens=2_000, workers=workers)
    made = run_tokenize(options, out=tmp_path / "tokens")
    assert (made.digest, made.recipe) == (open_artifact(tokens).digest, open_artifact(tokens).recipe)


@pytest.mark.parametrize("shard", [0, 40])
def test_a_killed_run_carries_on_to_the_same_bytes(tmp_path, tokens, corpus, gpt4_folder, shard):
    command = [sys.executable, "-c", RUN, gpt4_folder, corpus, tmp_path / "tokens"]
    scratch = tmp_path / "tokens.part" / "scratch"
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not (scratch / f"shard-{shard:05d}.json").is_file():
        assert process.poll() is None
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in scratch.glob("shard-*.json")}
    first_shard = (tmp_path / "tokens.part" / "tokens-00000.bin").stat()
    assert 0 < len(kept) < open_artifact(tokens).facts["shards"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    after = (tmp_path / "tokens" / "tokens-00000.bin").stat()
    assert (after.st_ino, after.st_mtime_ns) == (first_shard.st_ino, first_shard.st_mtime_ns)
    assert open_artifact(tmp_path / "tokens").digest == open_artifact(tokens).digest
    assert verify(tmp_path / "tokens") == []


def test_a_vocabulary_past_65536_takes_four_bytes(tmp_path, write_corpus):
    single = [bytes([byte]) for byte in range(256)]
    every_pair = [*single, *(left + right for left in single for right in single)]

    def make(part):
        write_tokenizer(part.folder, Vocabulary(every_pair, special_ids(len(every_pair)), split_by(GPT4)))
        return {}

    tokenizer = build(
        tmp_path / "tokenizer", kind="tokenizer", stage_version=1, options={}, inputs={}, libraries=(), make=make
    )
    corpus = write_corpus(tmp_path / "corpus", ["\xff\xfe zz ÿÿÿÿ"])
    run_tokenize(TokenizeOptions(tokenizer=tokenizer.path, corpus=corpus), out=tmp_path / "tokens")
    reader = TokenReader(tmp_path / "tokens")
    ids = reader.read(0, reader.total_tokens)
    assert ids.dtype == np.uint32
    assert ids[0] == 65_792
    assert Tokenizer.load(tokenizer.path).decode(ids[1:]) == "\xff\xfe zz ÿÿÿÿ"


def test_hostile_documents_pass_through(tmp_path, write_corpus, gpt4_folder):
    texts = ["", " " * 2_000_000, "\x00" * 1_000, "<|endoftext|><|im_start|>", "a" * 500_000]
    corpus = write_corpus(tmp_path / "corpus", texts)
    run_tokenize(TokenizeOptions(tokenizer=gpt4_folder, corpus=corpus, shard_tokens=1), out=tmp_path / "tokens")
    reader, tokenizer = TokenReader(tmp_path / "tokens"), Tokenizer.load(gpt4_folder)
    assert reader.facts["shards"] == len(texts)
    for document, text in zip(reader.documents, texts, strict=True):
        ids = reader.read(int(document["first_token"]), int(document["tokens"])).tolist()
        assert tokenizer.decode(ids[1:]) == text
        assert [token_id for token_id in ids if token_id in tokenizer.special.values()] == ids[:1]


def write_talks(path, count):
    talks = [
        [
            {"role": "user", "content": f"What is {index} + 1? <|im_end|>"},
            {"role": "assistant", "content": f"It is {index + 1}."},
        ]
        for index in range(count)
    ]
    path.write_text("\ufeff" + "\n\n".join(json.dumps({"messages": talk, "source": "test"}) for talk in talks) + "\n")
    return talks


@pytest.mark.parametrize("workers", [1, 8])
def test_conversations_carry_their_mask(tmp_path, gpt4_folder, workers):
    talks = write_talks(tmp_path / "talks.jsonl", 700)
    options = TokenizeOptions(
        tokenizer=gpt4_folder,
        conversations=tmp_path / "talks.jsonl",
        shard_tokens=5_000,
        held_out_fraction=0.1,
        workers=workers,
    )
    made = run_tokenize(options, out=tmp_path / "tokens")
    reader, tokenizer = TokenReader(tmp_path / "tokens"), Tokenizer.load(gpt4_folder)
    assert len(reader.documents) == 700
    assert made.facts["shards"] > 3
    for document, talk in zip(reader.documents, talks, strict=True):
        span = int(document["first_token"]), int(document["tokens"])
        ids, mask = reader.read(*span), reader.read_mask(*span)
        assert ids.tolist() == render(tokenizer, talk).ids
        assert tokenizer.decode(ids[mask == 1]) == talk[1]["content"] + "<|im_end|>"
        line = json.dumps({"messages": talk}, sort_keys=True, separators=(",", ":"))
        assert bytes(document["page_id"]) == hashlib.sha256(line.encode()).digest()
    assert 40 < reader.documents["held_out"].sum() < 100
    assert made.facts["learned_tokens"] == reader.read_mask(0, reader.total_tokens).sum()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"messages": "\xff"}', "is not UTF-8"),
        (b"[]", "is not a JSON object"),
        (b'{"prompt": "x"}', 'has no "messages"'),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "nothing to learn"),
        (b'{"messages": [{"role": "user", "content": 3}]}', "message 1: content is 3"),
    ],
)
def test_a_bad_line_is_named(tmp_path, gpt4_folder, line, complaint):
    write_talks(tmp_path / "talks.jsonl", 2)
    with (tmp_path / "talks.jsonl").open("ab") as file:
        file.write(line + b"\n")
    options = TokenizeOptions(tokenizer=gpt4_folder, conversations=tmp_path / "talks.jsonl")
    with pytest.raises(InputError, match=r"talks\.jsonl, line 4") as caught:
        run_tokenize(options, out=tmp_path / "tokens")
    assert complaint in str(caught.value)


def test_nothing_to_tokenize_is_an_error(tmp_path, gpt4_folder):
    (tmp_path / "talks.jsonl").write_text("\n\n")
    options = TokenizeOptions(tokenizer=gpt4_folder, conversations=tmp_path / "talks.jsonl")
    with pytest.raises(InputError, match="holds nothing to tokenize"):
        run_tokenize(options, out=tmp_path / "tokens")


def test_exactly_one_source(tmp_path, corpus, gpt4_folder):
    for sources in ({}, {"corpus": corpus, "conversations": corpus}):
        with pytest.raises(OptionError, match="either --corpus or --conversations"):
            run_tokenize(TokenizeOptions(tokenizer=gpt4_folder, **sources), out=tmp_path / "tokens")
