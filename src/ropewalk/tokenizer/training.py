"""Learn a vocabulary: count the train split's pieces, merge, write the files, measure on held-out documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute

from ropewalk.artifact import Part
from ropewalk.corpus.reading import read_documents
from ropewalk.crawl.urls import site_host
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.machine import cores
from ropewalk.runtime.progress import Bar, progress
from ropewalk.tokenizer import SPECIAL_TOKENS, TokenizerOptions
from ropewalk.tokenizer.counting import Texts, count_texts
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.files import RANKS, Vocabulary, read_ranks, split_by, write_ranks, write_tokenizer
from ropewalk.tokenizer.merging import merge, start
from ropewalk.tokenizer.pattern import PATTERNS
from ropewalk.tokenizer.special import SPECIAL, special_ids
from ropewalk.tokenizer.table import Table
from ropewalk.tokenizer.taking import take

MERGES_AT_ONCE = 500  # between two looks at the bar, and at Ctrl-C

assert len(SPECIAL) == SPECIAL_TOKENS, "the door's number of special tokens is not that of special.py"


def make_tokenizer(part: Part, options: TokenizerOptions) -> Mapping[str, Any]:
    """Make the tokenizer artifact. What was learned before a kill is not learned again."""
    if options.take is None:
        vocabulary = _learned(part.scratch / RANKS, options)
        assert len(vocabulary.tokens) + len(vocabulary.special) == options.vocabulary, "not of the size asked"
    else:
        vocabulary = take(options.take, pattern=PATTERNS[options.pattern])
    write_tokenizer(part.folder, vocabulary)
    tokenizer = Tokenizer.load(part.folder)
    facts = measure(tokenizer, options.corpus) if options.corpus is not None else {}
    return {"vocabulary": tokenizer.vocabulary, **facts}


def _learned(path: Path, options: TokenizerOptions) -> Vocabulary:
    """What is learned from the corpus, or was before and lies at `path`."""
    pattern = PATTERNS[options.pattern]
    assert options.corpus is not None, "the door has seen to it"
    if not path.is_file():
        tokens = learn(
            options.corpus,
            count=options.vocabulary - len(SPECIAL),
            pattern=pattern,
            sample_bytes=options.sample_bytes,
            weights=options.weights,
            threads=options.workers or cores(),
        )
        write_ranks(path.with_suffix(".draft"), {token: rank for rank, token in enumerate(tokens)})
        path.with_suffix(".draft").replace(path)
    tokens = read_ranks(path.read_bytes())
    return Vocabulary(tokens, special_ids(len(tokens)), split_by(pattern))


def learn(
    corpus: Path, *, count: int, pattern: str, sample_bytes: int, threads: int, weights: Mapping[str, float] | None = None
) -> list[bytes]:
    """Learn `count` tokens, the 256 bytes included, in rank order; ties go to the smaller pair of ids.

    Raises:
        InputError: there is no text, or so little that no pair is left to merge.
    """
    drawn = Draw(weights or {})
    documents, total_bytes = _count(corpus, "train", drawn)
    if total_bytes == 0:
        raise InputError(f"{corpus} has no documents to learn from: keep more pages in its corpus stage, or weigh them more")
    share = min(1.0, sample_bytes / total_bytes)
    with progress("tokenizer: reading", total=total_bytes * share, unit="bytes") as bar:
        counted = count_texts(_sample(corpus, drawn, share, bar), pattern=pattern, threads=threads)
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


@dataclass(frozen=True)
class Draw:
    """How often documents are to be counted: `weights` by language and by site, 1 for all others."""

    weights: Mapping[str, float]

    @property
    def columns(self) -> tuple[str, ...]:
        """What it asks of documents beside their text."""
        return ("page_id", "url", "language") if self.weights else ("page_id",)

    def weight(self, batch: pa.RecordBatch) -> np.ndarray:
        """Each document's weight, float64."""
        if not self.weights:
            return np.ones(batch.num_rows)
        languages = batch.column("language").to_pylist()
        sites = list(map(site_host, batch.column("url").to_pylist()))
        pairs = zip(languages, sites, strict=True)
        return np.array([self.weights.get(language, 1.0) * self.weights.get(site, 1.0) for language, site in pairs])

    def times(self, batch: pa.RecordBatch, share: float) -> np.ndarray:
        """How often each document of a sample is counted, int64: its weight times `share` on average.

        The part that is no whole number is drawn by page_id, which is a hash and so a fair lot, the same every time.
        """
        lots = np.array([int(page_id[:13], 16) for page_id in batch.column("page_id").to_pylist()]) / 2**52
        return np.ceil(self.weight(batch) * share - lots).astype(np.int64)


def _count(corpus: Path, split: Literal["train", "held_out"], draw: Draw | None = None) -> tuple[int, int]:
    """Documents and bytes of text in a split, these by weight."""
    documents, total_bytes = 0, 0.0
    for batch in read_documents(corpus, columns=("text", *(draw.columns if draw else ())), split=split):
        documents += batch.num_rows
        lengths = pyarrow.compute.call_function("binary_length", [batch.column("text")]).to_numpy()
        total_bytes += float((lengths * (draw.weight(batch) if draw else 1)).sum())
    return documents, round(total_bytes)


def _sample(corpus: Path, draw: Draw, share: float, bar: Bar) -> Iterator[Texts]:
    """The train split's texts, each as often as it is drawn."""
    for batch in read_documents(corpus, columns=("text", *draw.columns), split="train"):
        times = draw.times(batch, share)
        for often in np.unique(times[times > 0]).tolist():
            texts = texts_of(batch.filter(pa.array(times == often)).column("text"))
            yield Texts(texts.bytes, texts.ends, often)
            bar.advance(len(texts.bytes) * often)


def texts_of(column: pa.StringArray) -> Texts:
    """A column of one text or more as it lies in memory, nothing copied."""
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    text = np.frombuffer(data or b"", dtype=np.uint8)
    return Texts(text[ends[0] : ends[-1]], ends[1:] - ends[0])
