"""Learn a vocabulary: count the train split's pieces, merge, write the files, measure on held-out documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute

from ropewalk.artifact import Part
from ropewalk.corpus.reading import read_documents
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.machine import cores
from ropewalk.runtime.progress import Bar, progress
from ropewalk.tokenizer import SPECIAL_TOKENS, TokenizerOptions
from ropewalk.tokenizer.counting import Texts, count_texts
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.files import RANKS, read_ranks, write_ranks, write_tokenizer
from ropewalk.tokenizer.merging import merge, start
from ropewalk.tokenizer.pattern import PATTERNS
from ropewalk.tokenizer.special import SPECIAL, special_ids
from ropewalk.tokenizer.table import Table

MERGES_AT_ONCE = 500  # between two looks at the bar, and at Ctrl-C

assert len(SPECIAL) == SPECIAL_TOKENS, "the door's number of special tokens is not that of special.py"


def make_tokenizer(part: Part, options: TokenizerOptions) -> Mapping[str, Any]:
    """Make the tokenizer artifact. What was learned before a kill is not learned again."""
    pattern = PATTERNS[options.pattern]
    learned = part.scratch / RANKS
    if not learned.is_file():
        tokens = learn(
            options.corpus,
            count=options.vocabulary - len(SPECIAL),
            pattern=pattern,
            sample_bytes=options.sample_bytes,
            threads=options.workers or cores(),
        )
        write_ranks(learned.with_suffix(".draft"), tokens)
        learned.with_suffix(".draft").replace(learned)
    tokens = read_ranks(learned)
    tokenizer = Tokenizer(tokens, pattern=pattern, special=special_ids(len(tokens)))
    assert tokenizer.vocabulary == options.vocabulary, "the vocabulary is not of the size asked"
    write_tokenizer(part.folder, tokens, pattern=pattern)
    return {"vocabulary": tokenizer.vocabulary, **measure(tokenizer, options.corpus)}


def learn(corpus: Path, *, count: int, pattern: str, sample_bytes: int, threads: int) -> list[bytes]:
    """Learn `count` tokens, the 256 bytes included, in rank order; ties go to the smaller pair of ids.

    Raises:
        InputError: there is no text, or so little that no pair is left to merge.
    """
    documents, total_bytes = _count(corpus, "train")
    if documents == 0:
        raise InputError(f"{corpus} has no documents to learn from: keep more pages in its corpus stage")
    kept_fraction = min(1.0, sample_bytes / total_bytes)
    with progress("tokenizer: reading", total=total_bytes * kept_fraction, unit="bytes") as bar:
        counted = count_texts(_sample(corpus, kept_fraction, bar), pattern=pattern, threads=threads)
    tokens = merged_tokens(counted, count=count)
    if len(tokens) < count:
        raise InputError(
            f"{corpus} has {documents} documents with {total_bytes} bytes to learn from, enough for a vocabulary of "
            f"{len(tokens) + len(SPECIAL)}: ask for that or less with --vocabulary, or bring more text"
        )
    return tokens


def merged_tokens(counted: Table, *, count: int) -> list[bytes]:
    """The 256 bytes and what merging makes of them, `count` tokens or all that there are.

    Two merges can make the same bytes (a + bc and ab + c, where others come between); they are one token, with the rank
    of the first, for encoding merges whatever makes a token's bytes.
    """
    made = [bytes([byte]) for byte in range(256)]
    tokens = dict.fromkeys(made)
    state = start(counted)
    with progress("tokenizer: learning", total=count - len(tokens), unit="merges") as bar:
        while len(tokens) < count:
            state, pairs = merge(state, first_id=len(made), merges=min(MERGES_AT_ONCE, count - len(tokens)))
            if not len(pairs):
                break
            for left, right in pairs.tolist():
                made.append(made[left] + made[right])
                tokens.setdefault(made[-1])
            bar.advance(len(pairs))
    return list(tokens)


def measure(tokenizer: Tokenizer, corpus: Path) -> dict[str, Any]:
    """Bytes per token on the held-out documents, which the tokenizer has not seen; None if there are none."""
    documents, total_bytes = _count(corpus, "held_out")
    tokens = 0
    with progress("tokenizer: measuring", total=total_bytes, unit="bytes") as bar, ThreadPoolExecutor() as pool:
        for batch in read_documents(corpus, columns=("text",), split="held_out"):
            ids, _ = tokenizer.encode_batch(batch.column("text").to_pylist(), pool=pool)
            tokens += len(ids)
            bar.advance(int(tokenizer.bytes_per_token[ids].sum()))
    return {
        "held_out_documents": documents,
        "held_out_bytes": total_bytes,
        "held_out_tokens": tokens,
        "held_out_bytes_per_token": round(total_bytes / tokens, 4) if tokens else None,
    }


def _count(corpus: Path, split: Literal["train", "held_out"]) -> tuple[int, int]:
    """Documents and bytes of text in a split."""
    documents = total_bytes = 0
    for batch in read_documents(corpus, columns=("text",), split=split):
        documents += batch.num_rows
        lengths = pyarrow.compute.call_function("binary_length", [batch.column("text")])
        total_bytes += pyarrow.compute.call_function("sum", [lengths]).as_py() or 0
    return documents, total_bytes


def _sample(corpus: Path, kept_fraction: float, bar: Bar) -> Iterator[Texts]:
    """The train split's texts, or those whose page_id, a hash and so a fair lot, lies below `kept_fraction`."""
    below = int(kept_fraction * 2**64)
    for batch in read_documents(corpus, columns=("text", "page_id"), split="train"):
        if kept_fraction < 1:
            batch = batch.filter(
                pa.array([int(page_id[:16], 16) < below for page_id in batch.column("page_id").to_pylist()])
            )
        if batch.num_rows:
            texts = texts_of(batch.column("text"))
            yield texts
            bar.advance(len(texts.bytes))


def texts_of(column: pa.StringArray) -> Texts:
    """A column of one text or more as it lies in memory, nothing copied."""
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    text = np.frombuffer(data or b"", dtype=np.uint8)
    return Texts(text[ends[0] : ends[-1]], ends[1:] - ends[0])
