"""Build a corpus: judge pages in batches, find duplicates over all of them, write documents and ledger.

What survives an interruption is `scratch/batch-*.parquet`: finished batches, a row per record. Batches are cut by the
input alone, so that a resumed run cuts them the same; everything after them is computed anew and quickly.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ropewalk.artifact import Part, is_artifact, open_artifact
from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.decide import decide
from ropewalk.corpus.duplicates import dump_of
from ropewalk.corpus.page import Row, process
from ropewalk.corpus.pool import Batch, map_batches
from ropewalk.corpus.records import Record, Source, find_sources
from ropewalk.corpus.relevance import load_classifier
from ropewalk.corpus.tables import rows_table, write_table
from ropewalk.corpus.write import write_documents, write_ledger
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.runtime.machine import cores
from ropewalk.runtime.progress import progress, say

BATCH_RECORDS = 128
BATCH_BYTES = 8_000_000


def check(options: CorpusOptions) -> None:
    """Refuse options that make no sense, before any work.

    Raises:
        OptionError: names the option.
    """
    if not 0 <= options.held_out_fraction < 1:
        raise OptionError(f"held_out_fraction is {options.held_out_fraction}: give a fraction from 0 to below 1")
    for name in ("max_line_documents", "passage_words"):
        if getattr(options, name) < 0:
            raise OptionError(f"{name} is {getattr(options, name)}: give 0 to cut nothing, or a number above it")
    if options.workers < 0:
        raise OptionError(f"workers is {options.workers}: give 0 for one per core, or how many")
    if not 0 <= options.held_out_max_overlap <= 1:
        raise OptionError(f"held_out_max_overlap is {options.held_out_max_overlap}: give a fraction from 0 to 1")
    for name in ("max_page_bytes", "max_nesting", "page_seconds", "minhash_bands", "minhash_band_hashes"):
        if getattr(options, name) < 1:
            raise OptionError(f"{name} is {getattr(options, name)}: give 1 or more")


def make(part: Part, options: CorpusOptions) -> Mapping[str, Any]:
    """Judge, deduplicate and write; returns the facts. See `ropewalk.artifact.build` for the rules it keeps."""
    if options.classifier is not None:
        load_classifier(options.classifier)  # what is wrong with it is said here; in a worker it would cost every page
    sources = find_sources(options.pages)
    batches = _judge(part, sources, options)
    decisions = decide(batches, part.scratch, options)
    facts = decisions.facts()
    if not facts["documents"]:
        raise InputError(_nothing_kept(options.pages, facts))
    write_documents(part, decisions)
    write_ledger(part, decisions)
    return facts


def _judge(part: Part, sources: list[Source], options: CorpusOptions) -> list[Path]:
    """Judge every record; returns the batch files in input order."""
    scratch = part.scratch
    names: list[str] = []
    total = _expected_records(options.pages)

    def pending() -> Iterator[Batch[Record]]:
        for number, batch in enumerate(_batches(sources, options)):
            name = f"batch-{number:06d}.parquet"
            names.append(name)
            if (scratch / name).is_file():
                bar.advance(len(batch))
            else:
                yield Batch(name, batch)

    with progress("judging pages", total=total, unit="pages") as bar:
        finished = map_batches(
            functools.partial(process, options=options),
            pending(),
            workers=options.workers or cores(),
            task_seconds=options.page_seconds,
            lost=_lost,
        )
        for name, rows in finished:
            write_table(rows_table(rows), scratch / name, draft=scratch / "draft")
            bar.advance(len(rows))
    return [scratch / name for name in names]


def _batches(sources: list[Source], options: CorpusOptions) -> Iterator[list[Record]]:
    """Cut the records of all sources into batches of a fixed count, or fewer where they are large."""
    batch: list[Record] = []
    size_bytes = 0
    for source in sources:
        dump = dump_of(source.name) if options.duplicates_within == "dump" else ""
        for record in source.records(options.max_page_bytes):
            if record.fault:
                say(f"corpus: {record.fault}; everything else is used")
            batch.append(replace(record, dump=dump) if dump else record)
            size_bytes += len(record.payload)
            if len(batch) == BATCH_RECORDS or size_bytes >= BATCH_BYTES:
                yield batch
                batch, size_bytes = [], 0
    if batch:
        yield batch


def _lost(record: Record, how: str) -> Row:
    say(f"corpus: {record.url} killed its worker ({how}); the page is dropped, the work goes on")
    return Row(url=record.url, page_id=record.page_id, payload_bytes=len(record.payload)).dropped("extract", how)


def _expected_records(pages: Path) -> int | None:
    """How many records a pages artifact says it holds; unknown for a user's own files."""
    if not is_artifact(pages):
        return None
    count = open_artifact(pages).facts.get("pages")
    return count if isinstance(count, int) else None


def _nothing_kept(pages: Path, facts: Mapping[str, Any]) -> str:
    if not facts["records"]:
        return f"{pages} holds no records: crawl or copy some pages first"
    counts = sorted(facts["reasons"].items(), key=lambda item: (-item[1], item[0]))[:8]
    listed = ", ".join(f"{reason} {count}" for reason, count in counts)
    count = facts["records"]
    return f"none of the {count} records of {pages} is worth keeping ({listed}): loosen the options or bring other pages"
