"""Tracing beside infini-gram on the same tokens: making the index, and finding the passages of answers.

    make test-peers   # infini-gram's environment
    python bench/trace.py --out bench/results/trace.json

The pages are the sources of Python's library and of the installed packages, brought through the real stages. Answers have
200 tokens: half are three passages of pages one after another, half the words of a page in another order. What is found in
some of them is compared with a search that uses nothing but `in`, before anything is timed.

Not equal work: infini-gram's array is over tokens and alone, ours over bytes, and `index` also writes sentences and a
full-text table. The array alone is timed as a contestant of its own. Ours traces on one thread, infini-gram on as many
as it likes.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import LEAST_ROUNDS, Target, ask, compare, worker, write
from tokenizer import sources

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus import run as run_corpus
from ropewalk.runtime.lines import write_objects
from ropewalk.tokenizer import TokenizeOptions, TokenizerOptions, run_tokenize, run_tokenizer
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.shards import TokenReader
from ropewalk.trace import IndexOptions
from ropewalk.trace import run as run_index
from ropewalk.trace.index import Index
from ropewalk.trace.suffixes import PAGE_END, write_suffixes

PEER_SCRIPT = Path(__file__).with_name("trace_peer.py")
PEER = Path(".peers/bin/python")
VOCABULARY = 4_096
BYTES_A_TOKEN = 3.3  # of such text, at most: how much of it to take
ANSWER_TOKENS = 200
ANSWERS, CHECKED = 100, 3
LEAST_CHARACTERS = 32
MOST_INDEX_SECONDS, MOST_BYTES_A_TOKEN, MOST_P95_MILLISECONDS = 15.0, 6.0, 50.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the result goes, JSON")
    parser.add_argument("--rounds", type=int, default=LEAST_ROUNDS, help=f"rounds, at least {LEAST_ROUNDS} to keep a result")
    parser.add_argument("--tokens", type=int, default=20_000_000, help="tokens to index")
    parser.add_argument("--peer-python", type=Path, default=PEER, help="Python of an environment with infini-gram")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-trace-") as name:
        folder = Path(name)
        options = prepare(folder, arguments.tokens)
        answers = make_answers(options)
        write_for_peer(folder / "peer", options, answers)
        index = run_index(options, out=folder / "index").path
        notes = [check(index, answers), disk(index, folder / "peer", arguments.peer_python)]
        indexing, seconds = race_indexing(folder, options, arguments)
        tracing, milliseconds = race_tracing(folder, index, answers, arguments)
        indexing["notes"] = [*notes[1:], *seconds]
        tracing["notes"] = [notes[0], *milliseconds]
        write([indexing, tracing], arguments.out)


def prepare(folder: Path, tokens: int) -> IndexOptions:
    """Sources as a corpus and its tokens, cut to about as many tokens as are wanted."""
    texts = sources(int(tokens * BYTES_A_TOKEN))
    rows = ({"text": text, "id": str(number)} for number, text in enumerate(texts))
    write_objects(folder / "pages.jsonl", rows)
    corpus = run_corpus(
        CorpusOptions(
            pages=folder / "pages.jsonl", rules="none", languages=(), language_threshold=0.0, near_duplicates=False,
            held_out_fraction=0.0,
        ),
        out=folder / "corpus",
    ).path  # fmt: skip
    tokenizer = run_tokenizer(TokenizerOptions(corpus=corpus, vocabulary=VOCABULARY), out=folder / "tokenizer").path
    made = run_tokenize(TokenizeOptions(corpus=corpus, tokenizer=tokenizer), out=folder / "tokens").path
    return IndexOptions(corpus=corpus, tokens=made)


def make_answers(options: IndexOptions) -> list[str]:
    """Texts of 200 tokens: passages of pages, and words of a page shuffled."""
    draws, reader = random.Random(0), TokenReader(options.tokens)
    tokenizer = Tokenizer.load(options.tokens.parent / "tokenizer")
    documents = [row for row in reader.documents if row["tokens"] > ANSWER_TOKENS + 2]

    def cut(tokens: int) -> str:
        row = draws.choice(documents)
        first = int(row["first_token"]) + draws.randrange(1, int(row["tokens"]) - tokens)
        return tokenizer.decode(reader.read(first, tokens).tolist())

    answers = []
    for number in range(ANSWERS):
        if number % 2:
            words = cut(ANSWER_TOKENS).split(" ")
            draws.shuffle(words)
            answers.append(" ".join(words))
        else:
            answers.append(cut(67) + cut(67) + cut(66))
    return answers


def write_for_peer(folder: Path, options: IndexOptions, answers: Sequence[str]) -> None:
    """The same tokens in infini-gram's form, a separator before each document, and the answers as ids."""
    folder.mkdir()
    reader, offset = TokenReader(options.tokens), 0
    with (folder / "tokenized.0").open("wb") as tokens, (folder / "offset.0").open("wb") as offsets:
        for row in reader.documents:
            ids = reader.read(int(row["first_token"]), int(row["tokens"])).astype("<u2")
            offsets.write(np.uint64(offset).tobytes())
            offset += tokens.write(b"\xff\xff" + ids.tobytes())
    tokenizer = Tokenizer.load(options.tokens.parent / "tokenizer")
    (folder / "queries.json").write_text(json.dumps([tokenizer.encode(answer) for answer in answers]))


def check(folder: Path, answers: Sequence[str]) -> str:
    """Compare with brute force; ends the bench where they differ."""
    pages = b"".join(path.read_bytes() for path in sorted(folder.glob("text-*.bin")))
    spans = 0
    with Index.open(folder) as index:
        for answer in answers[:CHECKED]:
            found = [(span.start, span.end) for span in index.spans(answer, min_tokens=1, min_characters=LEAST_CHARACTERS)]
            if found != brute_force(answer, pages):
                sys.exit(f"passages differ from those of a plain search: {answer!r}")
            spans += len(found)
    return f"{spans} passages of {CHECKED} answers are those that a plain search over all bytes finds, no more and no fewer"


def brute_force(text: str, pages: bytes) -> list[tuple[int, int]]:
    """Start and end of every passage of 32 characters that stands in the pages and could not be longer."""
    found, reached = [], 0
    for start in range(len(text)):
        end = max(start, reached)
        while end < len(text) and text[start : end + 1].encode() in pages:
            end += 1
        if end > reached and end - start >= LEAST_CHARACTERS:
            found.append((start, end))
        reached = max(reached, end)
    return found


def disk(index: Path, peer: Path, python: Path) -> str:
    """Bytes a token of both, the peer's made here for that."""
    sort_peer(peer, python)
    tokens = (peer / "tokenized.0").stat().st_size // 2
    ours = sum(path.stat().st_size for path in index.iterdir()) / tokens
    theirs = sum((peer / f"{name}.0").stat().st_size for name in ("tokenized", "offset", "table")) / tokens
    said = verdict(ours <= MOST_BYTES_A_TOKEN)
    return f"{ours:.1f} bytes a token, infini-gram {theirs:.1f}; target {MOST_BYTES_A_TOKEN:g}: {said}"


def race_indexing(folder: Path, options: IndexOptions, arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """The whole index, its suffix array alone, and the peer's array, in tokens a second."""
    tokens = (folder / "peer" / "tokenized.0").stat().st_size // 2
    taken: list[float] = []

    def whole() -> float:
        shutil.rmtree(folder / "again", ignore_errors=True)
        began = time.perf_counter()
        run_index(options, out=folder / "again")
        taken.append(time.perf_counter() - began)
        return tokens

    texts = [bytearray(path.read_bytes()) for path in sorted((folder / "index").glob("text-*.bin"))]
    assert all(text[-1] == PAGE_END for text in texts)

    def array() -> float:
        for text in texts:
            write_suffixes(folder / "suffixes.npy", text)
        return tokens

    def peer() -> float:
        sort_peer(folder / "peer", arguments.peer_python)
        return tokens

    result = compare(
        "trace",
        {"ropewalk index": whole, "its suffix array": array, "infini-gram": peer},
        what=f"an index of {tokens:,} tokens",
        unit="tokens",
        targets=[Target("its suffix array", "infini-gram", 1.0)],
        libraries=["pydivsufsort"],
        rounds=arguments.rounds,
    )
    seconds = statistics.median(taken[1:])
    said = verdict(seconds <= MOST_INDEX_SECONDS)
    return result, [f"the whole index takes {seconds:.1f} s; target {MOST_INDEX_SECONDS:g} s at 20 million tokens: {said}"]


def race_tracing(
    folder: Path, index: Path, answers: Sequence[str], arguments: argparse.Namespace
) -> tuple[dict[str, Any], list[str]]:
    """Passages of all answers, in answers a second; the peer in its own process."""
    taken: dict[str, list[float]] = {"ropewalk": [], "infini-gram": []}
    peer = worker(PEER_SCRIPT, "attribute", str(folder / "peer"), python=arguments.peer_python)
    with Index.open(index) as opened, peer as process:

        def ours() -> float:
            for answer in answers:
                began = time.perf_counter()
                opened.spans(answer)
                taken["ropewalk"].append(1e3 * (time.perf_counter() - began))
            return len(answers)

        def theirs() -> float:
            taken["infini-gram"] += ask(process, 1)["milliseconds"]
            return len(answers)

        result = compare(
            "trace",
            {"ropewalk": ours, "infini-gram": theirs},
            what=f"the passages of {len(answers)} answers of {ANSWER_TOKENS} tokens",
            unit="answers",
            targets=[Target("ropewalk", "infini-gram", 1.0)],
            libraries=["pydivsufsort"],
            rounds=arguments.rounds,
        )
    p95 = {name: statistics.quantiles(values[len(answers) :], n=20)[-1] for name, values in taken.items()}
    said = verdict(p95["ropewalk"] <= MOST_P95_MILLISECONDS)
    listed = ", ".join(f"{name} {value:.1f} ms" for name, value in p95.items())
    return result, [f"the slowest of 20 answers (p95) takes: {listed}; target {MOST_P95_MILLISECONDS:g} ms: {said}"]


def sort_peer(folder: Path, python: Path) -> None:
    subprocess.run([python, PEER_SCRIPT, "index", folder], check=True, stdout=subprocess.DEVNULL)


def verdict(met: bool) -> str:
    return "met" if met else "**missed**"


if __name__ == "__main__":
    main()
