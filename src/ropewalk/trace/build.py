"""Make an index: the training pages' text into sorted shards, their sentences into a database, in one pass."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ropewalk.artifact import Part, open_artifact, open_input
from ropewalk.corpus.reading import read_documents
from ropewalk.runtime.errors import ArtifactError
from ropewalk.runtime.progress import progress
from ropewalk.tokenizer.encoding import copy_files
from ropewalk.tokenizer.shards import TokenReader
from ropewalk.trace import IndexOptions
from ropewalk.trace.database import DATABASE, DatabaseWriter, PageRow
from ropewalk.trace.sentences import sentences
from ropewalk.trace.suffixes import ShardWriter


@dataclass(frozen=True)
class _TrainingPage:
    page_id: str
    url: str
    title: str
    text: str


def check(options: IndexOptions) -> None:
    """Refuse tokens of another corpus, before any work.

    Raises:
        ArtifactError: says so.
    """
    tokens, corpus = open_artifact(options.tokens, "tokens"), open_artifact(options.corpus, "corpus")
    if tokens.inputs.get("corpus", {}).get("digest") != corpus.digest:
        raise ArtifactError(f"{options.tokens} were not made from {options.corpus}: give the corpus they were made from")


def make_index(part: Part, options: IndexOptions) -> Mapping[str, Any]:
    """Write the index and return its facts. Resumed, it sorts only the shards that are not there yet."""
    copy_files(open_input(open_artifact(options.tokens, "tokens"), "tokenizer").path, part.folder)
    documents = np.asarray(TokenReader(options.tokens).documents)
    draft = part.scratch / DATABASE
    shards = ShardWriter(part, shard_bytes=options.shard_bytes)
    with closing(DatabaseWriter(draft)) as database:
        with progress("index", total=int((documents["held_out"] == 0).sum()), unit="pages") as bar:
            for page in _training_pages(options.corpus, documents):
                _add(page, shards, database)
                bar.advance()
        shards.finish()
        database.finish()
    draft.replace(part.folder / DATABASE)
    return {
        "pages": database.pages,
        "sentences": database.sentences,
        "bytes": shards.text_bytes,
        "shards": shards.shards,
        "sqlite": sqlite3.sqlite_version,
    }


def _training_pages(corpus: Path, documents: np.ndarray) -> Iterator[_TrainingPage]:
    """The documents of the corpus that their tokens do not hold out, in its own order."""
    number = 0
    for batch in read_documents(corpus, columns=("page_id", "url", "title", "text")):
        for page_id, url, title, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            document = documents[number]
            assert document["page_id"].tobytes().hex() == page_id, "tokens stand in the order of their corpus"
            if not document["held_out"]:
                yield _TrainingPage(page_id, url, title or "", text)
            number += 1


def _add(page: _TrainingPage, shards: ShardWriter, database: DatabaseWriter) -> None:
    encoded = page.text.encode()
    shard, first_byte = shards.add(encoded)
    row = PageRow(database.pages, page.page_id, page.url, page.title, shard, first_byte, len(encoded))
    found: list[tuple[int, str]] = []
    characters = at_byte = 0
    for start, end in sentences(page.text):
        at_byte += len(page.text[characters:start].encode())
        characters = start
        found.append((at_byte, page.text[start:end]))
    database.add(row, found)
