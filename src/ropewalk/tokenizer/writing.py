"""Write a corpus or conversations as token shards, encoding on threads: what encodes leaves Python's lock meanwhile."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import islice, pairwise, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ropewalk.artifact import Part, open_artifact
from ropewalk.artifact.manifest import canonical
from ropewalk.corpus.reading import read_documents
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.machine import cores
from ropewalk.runtime.progress import progress
from ropewalk.tokenizer import TokenizeOptions
from ropewalk.tokenizer.chat import Message, render
from ropewalk.tokenizer.conversations import read_conversations
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.origin import FACT, tokenizer_digest
from ropewalk.tokenizer.shards import Document, ShardWriter
from ropewalk.tokenizer.special import BOUNDARY
from ropewalk.tokenizer.thinking import thinks

BATCH = 512


def make_tokens(part: Part, options: TokenizeOptions) -> Mapping[str, Any]:
    """Make the tokens artifact, carrying on after the last finished shard."""
    tokenizer = Tokenizer.load(options.tokenizer)
    if BOUNDARY not in tokenizer.special:
        raise InputError(
            f"the tokenizer of {options.tokenizer} has no {BOUNDARY}, which stands before every document here: "
            "take it in with 'ropewalk tokenizer --take', which adds it"
        )
    source = options.conversations or options.corpus
    assert source is not None, "run_tokenize asks for one of the two"
    writer = ShardWriter(
        part,
        bytes_per_token=tokenizer.bytes_per_token,
        shard_tokens=options.shard_tokens,
        masked=options.conversations is not None,
    )
    total = None if options.conversations else open_artifact(source).facts.get("documents")
    pool = ThreadPoolExecutor(options.workers or cores())
    try:
        if options.conversations:
            documents = _conversations(options, tokenizer, pool, skip=writer.documents)
        else:
            documents = _corpus(source, tokenizer, pool, skip=writer.documents)
        with progress("tokenize", total=total, unit="documents", done=writer.documents) as bar:
            for document in documents:
                writer.add(document)
                bar.advance(1, note=f"{writer.tokens:,} tokens")
        if writer.documents == 0:
            raise InputError(f"{source} holds nothing to tokenize: check the path, or bring more text")
        return {**writer.finish(), FACT: tokenizer_digest(open_artifact(options.tokenizer))}
    finally:
        pool.shutdown(cancel_futures=True)
        writer.close()


def _corpus(corpus: Path, tokenizer: Tokenizer, pool: Executor, *, skip: int) -> Iterator[Document]:
    """The corpus' documents after the first `skip`, in its own order."""
    boundary = np.array([tokenizer.special[BOUNDARY]], dtype=np.uint32)
    for batch in read_documents(corpus, columns=("text", "page_id", "split"), batch_rows=BATCH):
        skipped = min(skip, batch.num_rows)
        skip -= skipped
        batch = batch.slice(skipped)
        batch_ids, offsets = tokenizer.encode_batch(batch.column("text").to_pylist(), pool=pool)
        encoded = [batch_ids[first:last] for first, last in pairwise(offsets.tolist())]
        page_ids, splits = batch.column("page_id").to_pylist(), batch.column("split").to_pylist()
        for ids, page_id, split in zip(encoded, page_ids, splits, strict=True):
            yield Document(np.concatenate([boundary, ids]), None, split == "held_out", bytes.fromhex(page_id))


def _conversations(options: TokenizeOptions, tokenizer: Tokenizer, pool: Executor, *, skip: int) -> Iterator[Document]:
    """The conversations after the first `skip`, in the files' order."""

    def encoded(whole: list[Message], messages: list[Message]) -> Document:
        rendered = render(tokenizer, messages)
        return Document(
            np.array(rendered.ids, dtype=np.uint32),
            np.array(rendered.loss_mask, dtype=np.uint8),
            _lot(whole) < options.held_out_fraction,
            _digest(messages),
        )

    lessons = ((whole, lesson) for whole in _mixed(options) for lesson in _lessons(whole))
    remaining = islice(lessons, skip, None)
    while batch := list(islice(remaining, BATCH)):
        yield from pool.map(encoded, *zip(*batch, strict=True))


def _mixed(options: TokenizeOptions) -> Iterator[list[Message]]:
    """Each file's conversations as often as its weight says; the part that is no whole number is drawn by their hash."""
    assert options.conversations is not None
    paths = [options.conversations, *options.also]
    for path, weight in zip_longest(paths, options.weights, fillvalue=1.0):
        assert isinstance(path, Path) and weight is not None
        for messages in read_conversations(path):
            lot = _lot([*messages, {"role": "user", "content": "which part"}])  # apart from the lot of being held out
            for _ in range(math.ceil(weight - lot)):
                yield messages


def _lot(messages: list[Message]) -> float:
    """From 0 to 1, the same for the same messages."""
    return int.from_bytes(_digest(messages)[:8], "big") / 2**64


def _digest(messages: list[Message]) -> bytes:
    return hashlib.sha256(canonical({"messages": messages}).encode()).digest()


def _lessons(messages: list[Message]) -> Iterator[list[Message]]:
    """The conversation; one that thinks, up to each answer in turn, since `render` teaches the last of them alone."""
    if not any(message["role"] == "assistant" and thinks(message["content"]) for message in messages):
        yield messages
        return
    following = [*(message["role"] for message in messages[1:]), "user"]
    for place, (message, next_role) in enumerate(zip(messages, following, strict=True), start=1):
        if message["role"] == "assistant" and next_role == "user":
            yield messages[:place]
