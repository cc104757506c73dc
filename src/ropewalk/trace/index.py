"""Ask an index: which passages of a text stand in the training pages, and which sentences there support it.

    index = Index.open(Path("runs/docs/index"))
    for span in index.spans("To open a database connection, call"):
        print(span.occurrences, span.pages[0].url)

What is said of a span is that this text occurs in these pages, never that they caused it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np

from ropewalk.artifact import Artifact, open_artifact
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.trace.database import DATABASE, Database, PageRow, SentenceRow
from ropewalk.trace.suffixes import Shard
from ropewalk.trace.words import names, query

# Sentences with all the words, of which the first few with the numbers as written are evidence.
CANDIDATES = 1_000


@dataclass(frozen=True)
class PageSpan:
    """Where a span first stands in a page: characters `start` to `end` of the page's text."""

    page_id: str
    url: str
    title: str
    start: int
    end: int


@dataclass(frozen=True)
class Span:
    """A passage that stands in the training pages word for word and could not be longer: characters `start` to `end`.

    tokens: how many tokens it takes by itself. occurrences: how often it stands in the pages, all of them together.
    pages: some of these, in the order of the corpus.
    """

    start: int
    end: int
    tokens: int
    occurrences: int
    pages: tuple[PageSpan, ...]


@dataclass(frozen=True)
class Evidence:
    """A sentence of a training page: characters `start` to `end` of the page's text."""

    sentence: str
    page_id: str
    url: str
    title: str
    start: int
    end: int


@dataclass(frozen=True)
class Page:
    """A training page and its text."""

    page_id: str
    url: str
    title: str
    text: str


class Index:
    """An index, opened. Text and suffix arrays are memory-mapped; threads may share it.

    corpus_digest: of the corpus that was indexed.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._folder = artifact.path
        self.corpus_digest = artifact.inputs["corpus"]["digest"]
        self._shards = [Shard(artifact.path, number) for number in range(artifact.facts["shards"])]
        self._database = Database(artifact.path / DATABASE)
        self._first_pages = [self._database.first_page(number) for number in range(len(self._shards))]

    @classmethod
    def open(cls, path: Path) -> Index:
        """Open an index artifact. Raises ArtifactError if there is none, or it is damaged."""
        return cls(open_artifact(path, "index"))

    def __enter__(self) -> Index:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database; the maps go with the object."""
        self._database.close()

    def spans(self, text: str, *, min_tokens: int = 8, min_characters: int = 32, max_pages: int = 5) -> list[Span]:
        """The maximal passages of `text` that stand in the pages, in order; they may overlap.

        Args:
            min_tokens, min_characters: a passage has at least so many of both.
            max_pages: most pages named for each.
        """
        assert min_characters >= 1, "a passage has at least one character"
        # Half surrogate pairs become bytes that stand in no page, and the number of characters stays.
        encoded = text.encode("utf-8", "surrogatepass")
        known: dict[bytes, tuple[int, int, tuple[PageSpan, ...]]] = {}
        found = []
        for start, end in self._maximal(encoded, _character_bytes(encoded), min_characters):
            run = text[start:end].encode()
            if run not in known:
                known[run] = (len(self._tokenizer.encode(text[start:end])), *self._occurrences(run, max_pages))
            tokens, occurrences, pages = known[run]
            if tokens >= min_tokens:
                found.append(Span(start, end, tokens, occurrences, pages))
        return found

    def evidence(self, text: str, *, about: str = "", limit: int = 3) -> list[Evidence]:
        """Sentences of the pages that hold all the names, numbers and nouns of `text`, in whatever order; best first.

        The order is bm25's, then the corpus'. Text without such words, or with more than a sentence holds, finds nothing.

        about: what `text` answers. The names in it must stand in the sentence too, or what is true of Zambia supports an
            answer to a question about Zimbabwe.
        """
        wanted = query(text) and query(" ".join([text, *names(about)]))
        if wanted is None:
            return []
        found = []
        for row in self._database.matching(wanted.match, limit=CANDIDATES):
            if len(found) >= limit:
                break
            evidence = self._evidence(row)
            if wanted.accepts(evidence.sentence):
                found.append(evidence)
        return found

    def page(self, page_id: str) -> Page | None:
        """The training page with that identity; None if it is not in the index."""
        row = self._database.find_page(page_id)
        return row and Page(row.page_id, row.url, row.title, self._text(row, 0, row.bytes))

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self._folder)

    def _maximal(self, encoded: bytes, at_byte: Sequence[int], shortest: int) -> list[tuple[int, int]]:
        """Start and end, in characters, of all runs of at least `shortest` that occur and lie in no longer one.

        A run that reaches over a character where an earlier one broke off must start late enough for the text from there up
        to that character to occur, so the places between are passed over: a few searches for each run, not for each place.
        """
        count = len(at_byte) - 1

        def occurs(start: int, end: int) -> bool:
            run = encoded[at_byte[start] : at_byte[end]]
            return any(shard.occurs(run) for shard in self._shards)

        found = []
        start = 0
        while start + shortest <= count:
            reach = start + shortest
            if occurs(start, reach):
                longest = max(shard.longest_prefix(encoded[at_byte[start] :]) for shard in self._shards)
                end = bisect_right(at_byte, at_byte[start] + longest) - 1
                found.append((start, end))
                if end == count:
                    break
                reach = end + 1
            start = bisect_left(range(reach), True, start + 1, key=lambda later: occurs(later, reach))
        return found

    def _occurrences(self, run: bytes, max_pages: int) -> tuple[int, tuple[PageSpan, ...]]:
        """How often a run stands in the pages, and the first pages that hold it."""
        occurrences = 0
        pages: list[PageSpan] = []
        length = len(run.decode())
        for shard, first_page in zip(self._shards, self._first_pages, strict=True):
            low, high = shard.find(run)
            occurrences += high - low
            if high > low and len(pages) < max_pages:
                for page, position in shard.first_places(low, high)[: max_pages - len(pages)]:
                    row = self._database.page(first_page + page)
                    start = len(self._text(row, 0, position - row.first_byte))
                    pages.append(PageSpan(row.page_id, row.url, row.title, start, start + length))
        return occurrences, tuple(pages)

    def _evidence(self, row: SentenceRow) -> Evidence:
        page = row.page
        sentence = self._text(page, row.first_byte, row.first_byte + row.bytes)
        start = len(self._text(page, 0, row.first_byte))
        return Evidence(sentence, page.page_id, page.url, page.title, start, start + len(sentence))

    def _text(self, page: PageRow, start: int, end: int) -> str:
        """Bytes `start` to `end` of a page's text."""
        return self._shards[page.shard].text[page.first_byte + start : page.first_byte + end].decode()


def ranked(spans: Sequence[Span]) -> list[Span]:
    """The longest first; of equally long ones those that stand in the fewest places."""
    return sorted(spans, key=lambda span: (-span.tokens, span.occurrences, span.start))


def _character_bytes(encoded: bytes) -> Sequence[int]:
    """The byte at which each character begins, and the byte after the last."""
    if encoded.isascii():
        return range(len(encoded) + 1)
    begins = (np.frombuffer(encoded, dtype=np.uint8) & 0xC0) != 0x80
    return [*np.flatnonzero(begins).tolist(), len(encoded)]
