"""Follow text back to its pages: an index of what a model was trained on, and the passages that stand in it.

`index` reads a corpus and the tokens made from it, and writes kind "index". Held-out documents are not in it: no model read
them.

    text-00000.bin          the training pages' text one after the other, UTF-8, a byte 0xFF behind each
    suffixes-00000.npy      uint32: where each character of text-00000 begins, sorted by the text from there on
    first-bytes-00000.npy   uint32: where each page begins in text-00000
    pages.sqlite            pages (page_id, url, title, place in the text), sentences, and a full-text table over them
    tokenizer.json ...      the tokenizer's files, to count tokens

`trace` prints the passages of a text that stand in the pages word for word, and the sentences that support what it says.
`ropewalk.trace.index.Index` is how other rooms ask.

build       make an index
suffixes    the text and its suffix array: written shard by shard, searched by memory map
sentences   cut a page's text into sentences
words       the words of a text that evidence must hold
database    pages and sentences in SQLite
index       spans, evidence, pages
trace       the verb
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le

from ropewalk.artifact import Artifact
from ropewalk.config import Estimate, Input, Stage, build_stage

# No libraries: a text has one suffix array, whichever library sorts it. SQLite's version is among the facts.
STAGE = Stage("index", "index", version=1)


@dataclass(frozen=True)
class IndexOptions:
    """Index the training pages of a corpus, so that text can be followed back to them."""

    corpus: Annotated[Path, Input("corpus")]
    """The corpus whose training documents to index."""
    tokens: Annotated[Path, Input("tokens")]
    """The tokens made from that corpus: they say which documents a model is trained on."""
    shard_bytes: Annotated[int, Ge(1_000), Le(2_000_000_000)] = 256_000_000
    """Bytes of text in one suffix array at most; making it takes five bytes of memory for each, searching looks in all."""


def run(options: IndexOptions, *, out: Path, force: bool = False) -> Artifact:
    """Make the index `out`.

    Raises:
        ArtifactError: the tokens were not made from this corpus, or their tokenizer is gone.
    """
    from ropewalk.trace.build import check, make_index

    check(options)
    return build_stage(STAGE, options, out=out, force=force, make=lambda part: make_index(part, options))


# Measured on one of two cores, 20 MB of Python's sources (docs/trace.md).
SECONDS_PER_TOKEN = 1.6e-6
DISK_BYTES_PER_TOKEN = 20.0
TOKENS_PER_DOCUMENT = 1_000


def estimate(options: IndexOptions, amount: float) -> Estimate:
    """What `index` takes for `amount` documents."""
    tokens = amount * TOKENS_PER_DOCUMENT
    return Estimate(seconds=1 + tokens * SECONDS_PER_TOKEN, disk_bytes=tokens * DISK_BYTES_PER_TOKEN, amount=amount)
