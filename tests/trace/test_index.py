"""The index as an artifact: its bytes, its refusals, its resuming; the verb."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ropewalk.artifact import Part, open_artifact, verify
from ropewalk.runtime.errors import ArtifactError
from ropewalk.tokenizer import TokenizeOptions, run_tokenize
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.trace import IndexOptions, run
from ropewalk.trace.index import Index
from ropewalk.trace.suffixes import PAGE_END, Shard, ShardWriter, write_suffixes

RUN = """
import sys
from pathlib import Path
from ropewalk.trace import IndexOptions, run
corpus, tokens, out = map(Path, sys.argv[1:])
run(IndexOptions(corpus=corpus, tokens=tokens, shard_bytes=2_000), out=out)
"""


def ropewalk(*arguments, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ropewalk", *map(str, arguments)], input=stdin, capture_output=True, text=True
    )


def test_it_is_whole_and_says_what_it_holds(folder, inputs, training):
    corpus, tokens = inputs
    artifact = open_artifact(folder, "index")
    assert verify(folder) == []
    assert artifact.facts["pages"] == len(training)
    assert artifact.facts["bytes"] == sum(len(row["text"].encode()) for row in training)
    assert artifact.facts["shards"] == len(list(folder.glob("text-*.bin"))) >= 2
    assert artifact.facts["sentences"] > 10 * len(training)
    assert Tokenizer.load(folder).vocabulary == open_artifact(tokens).facts["vocabulary"]
    with Index.open(folder) as index:
        assert index.corpus_digest == open_artifact(corpus).digest


def test_equal_input_gives_equal_bytes(folder, inputs, tmp_path):
    corpus, tokens = inputs
    options = IndexOptions(corpus=corpus, tokens=tokens, shard_bytes=open_artifact(folder).options["shard_bytes"])
    again = run(options, out=tmp_path / "elsewhere" / "index")
    assert (again.digest, again.recipe) == (open_artifact(folder).digest, open_artifact(folder).recipe)


@pytest.mark.parametrize("shard", [0, 30])
def test_a_killed_run_carries_on_to_the_same_bytes(inputs, tmp_path, shard):
    command = [sys.executable, "-c", RUN, *inputs]
    killed, part = tmp_path / "killed", tmp_path / "killed.part"
    process = subprocess.Popen([*command, killed], stderr=subprocess.DEVNULL)
    while not (part / f"suffixes-{shard:05d}.npy").is_file():
        assert process.poll() is None
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert part.is_dir()
    kept = (part / f"suffixes-{shard:05d}.npy").stat()
    subprocess.run([*command, killed], check=True, stderr=subprocess.DEVNULL)
    after = (killed / f"suffixes-{shard:05d}.npy").stat()
    assert (after.st_ino, after.st_mtime_ns) == (kept.st_ino, kept.st_mtime_ns)
    subprocess.run([*command, tmp_path / "whole"], check=True, stderr=subprocess.DEVNULL)
    assert open_artifact(killed).digest == open_artifact(tmp_path / "whole").digest
    assert verify(killed) == []


def test_how_shards_are_cut_changes_no_answer(index, inputs, training, tmp_path):
    corpus, tokens = inputs
    for shard_bytes in (1_000, 2_000_000_000):
        made = run(IndexOptions(corpus=corpus, tokens=tokens, shard_bytes=shard_bytes), out=tmp_path / str(shard_bytes))
        assert made.facts["shards"] == (1 if shard_bytes > 1_000 else len(training))
        with Index.open(made.path) as other:
            for row in training[::7]:
                text = "Zebra " + row["text"][33:180] + row["text"][-99:]
                assert other.spans(text, min_tokens=2, min_characters=9) == index.spans(text, min_tokens=2, min_characters=9)
                assert other.evidence(row["text"][:50]) == index.evidence(row["text"][:50])


def test_the_suffix_array_is_what_sorting_gives(tmp_path, facts_texts):
    text = bytearray(
        chr(0).join(facts_texts[:5]).encode() + bytes([PAGE_END]) + "Καλημέρα aaaaaaaa".encode() + bytes([PAGE_END])
    )
    write_suffixes(tmp_path / "suffixes.npy", text)
    begins = [at for at, byte in enumerate(text) if byte < 0x80 or 0xC0 <= byte < PAGE_END]
    assert np.load(tmp_path / "suffixes.npy").tolist() == sorted(begins, key=lambda at: text[at:])


def test_tokens_of_another_corpus_are_refused(inputs, facts_folder, tmp_path):
    with pytest.raises(ArtifactError, match="were not made from"):
        run(IndexOptions(corpus=inputs[0], tokens=facts_folder.parent / "tokens"), out=tmp_path / "index")
    talk = {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]}
    (tmp_path / "talks.jsonl").write_text(json.dumps(talk))
    tokenizer = inputs[1].parent / "tokenizer"
    talks = run_tokenize(
        TokenizeOptions(tokenizer=tokenizer, conversations=tmp_path / "talks.jsonl"), out=tmp_path / "talks"
    ).path
    with pytest.raises(ArtifactError, match="were not made from"):
        run(IndexOptions(corpus=inputs[0], tokens=talks), out=tmp_path / "index")


@pytest.mark.parametrize("pages", [[], [b""], [b"", b"hemp, hemp", b"", b"hemp"], [b"hemp, hemp", b"hemp", b"", b""]])
def test_shards_of_few_and_empty_pages(tmp_path, pages):
    writer = ShardWriter(Part(tmp_path), shard_bytes=4)
    places = [writer.add(page) for page in pages]
    writer.finish()
    shards = [Shard(tmp_path, number) for number in range(writer.shards)]
    found = [shard.find(b"hemp") for shard in shards]
    assert sum(high - low for low, high in found) == b"".join(pages).count(b"hemp")
    assert any(shard.occurs(b"hemp") for shard in shards) == (b"hemp" in pages)
    assert max((shard.longest_prefix(b"hemp, rope") for shard in shards), default=0) == (6 if b"hemp" in pages else 0)
    for page, (shard, first_byte) in zip(pages, places, strict=True):
        assert shards[shard].text[first_byte : first_byte + len(page) + 1] == page + bytes([PAGE_END])


def test_the_verb_prints_pages_and_evidence(facts_folder):
    said = "They say that Paris is the capital of France. Lyon is the capital of France."
    shown = ropewalk("trace", "--index", facts_folder, "--min-characters", "20", said)
    assert shown.returncode == 0, shown.stderr
    assert "Characters 14 to 46" in shown.stdout
    assert "file:000.html  0 to 32  France" in shown.stdout
    supported, unsupported = shown.stdout.split("Evidence for: Lyon")
    assert "\n    Paris is the capital of France.\n" in supported
    assert "No sentence of the pages holds all" in unsupported
    assert ropewalk("trace", "--index", facts_folder, "--min-characters", "20", "-", stdin=said).stdout == shown.stdout
    nothing = ropewalk(
        "trace", "--index", facts_folder, "Nobody wrote this\x1b[2J anywhere at all, not once in all of time."
    )
    assert "No passage of 32 characters" in nothing.stdout
    assert "\x1b" not in nothing.stdout


def test_what_is_no_index_is_refused(inputs, tmp_path):
    for path, sentence in ((inputs[0], "holds corpus, but index is needed"), (tmp_path / "no", "is not a finished index")):
        done = ropewalk("trace", "--index", path, "text")
        assert (done.returncode, done.stdout) == (1, "")
        assert sentence in done.stderr


def test_a_damaged_index_is_refused(facts_folder, tmp_path):
    copy = shutil.copytree(facts_folder, tmp_path / "index")
    data = bytearray((copy / "text-00000.bin").read_bytes())
    data[100] ^= 1
    (copy / "text-00000.bin").write_bytes(data)
    with pytest.raises(ArtifactError, match="has changed since it was made"):
        Index.open(copy)
