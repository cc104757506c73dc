"""Build a corpus: judge pages in batches, find duplicates over all of them, write documents and ledger.

What survives an interruption is `scratch/batch-*.parquet`: finished batches, a row per record. Batches are cut by the
input alone, so that a resumed run cuts them the same; everything after them is computed anew and quickly.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from ropewalk.artifact import Part, is_artifact, is_remote, open_artifact
from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.contamination import Evaluation, write_runs
from ropewalk.corpus.costs import Costs
from ropewalk.corpus.decide import Decisions, decide
from ropewalk.corpus.duplicates import dump_of
from ropewalk.corpus.forget import FORGOTTEN, Forgotten, read_forgotten
from ropewalk.corpus.languages import check_languages
from ropewalk.corpus.page import Row, prepare, process
from ropewalk.corpus.pool import Batch, map_batches
from ropewalk.corpus.precise import load_trafilatura
from ropewalk.corpus.records import Record, Source, check_columns, find_sources
from ropewalk.corpus.relevance import load_classifier
from ropewalk.corpus.rows import Columns
from ropewalk.corpus.samples import write_samples
from ropewalk.corpus.tables import rows_table, write_table
from ropewalk.corpus.urls import load_url_lists
from ropewalk.corpus.write import check_accounts, write_documents, write_ledger
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.runtime.machine import cores
from ropewalk.runtime.progress import progress, say

BATCH_RECORDS = 128
BATCH_BYTES = 8_000_000
FAULTS_SAID = 20


def check(options: CorpusOptions) -> None:
    """Refuse options that make no sense, before any work: what they leave half-made would stand in the way of better ones.

    Raises:
        OptionError: names the option. InputError: no pages, or the first table lacks the column of the text.
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
    if options.keep_fraction < 1 and options.classifier is None:
        raise OptionError(f"keep_fraction is {options.keep_fraction}, but nothing scores the pages: give a classifier too")
    check_languages(options)
    if options.extractor == "precise":
        load_trafilatura()
    if is_remote(options.pages) or Path(options.pages).exists():
        check_columns(_sources(options))


def make(part: Part, options: CorpusOptions) -> Mapping[str, Any]:
    """Judge, deduplicate and write; returns the facts. See `ropewalk.artifact.build` for the rules it keeps."""
    if options.classifier is not None:
        load_classifier(options.classifier)  # what is wrong with it is said here; in a worker it would cost every page
    if options.url_lists is not None:
        load_url_lists(options.url_lists)
    forgotten = read_forgotten(options.forget) if options.forget else None
    evaluation = write_runs(part, options) if options.decontaminate else None
    sources = _sources(options)
    costs = Costs(part, workers=options.workers or cores())
    with costs.phase("judging"):
        batches, read = _judge(part, sources, options, evaluation)
    costs.note_pages(batches)
    with costs.phase("deciding"):
        decisions = decide(batches, part.scratch, options)
        facts = decisions.facts()
    if forgotten is not None:
        facts["forgotten"] = _forgotten_facts(forgotten, decisions)
    if evaluation is not None:
        facts["contamination"] = _contamination_facts(evaluation, decisions)
    if not facts["documents"]:
        raise InputError(_nothing_kept(options.pages, facts))
    with costs.phase("writing"):
        written = write_documents(part, decisions, options)
        write_ledger(part, decisions)
        write_samples(part, batches, decisions, options)
    check_accounts(part, read, facts)
    costs.write()
    return facts | written


def _sources(options: CorpusOptions) -> list[Source]:
    columns = Columns(options.text_column, options.url_column, options.id_column, options.date_column)
    return find_sources(options.pages, columns)


def _judge(
    part: Part, sources: list[Source], options: CorpusOptions, evaluation: Evaluation | None
) -> tuple[list[Path], int]:
    """Judge every record; returns the batch files in input order, and how many records were read."""
    scratch = part.scratch
    names: list[str] = []
    read = 0
    total = _expected_records(options.pages)

    def pending() -> Iterator[Batch[Record]]:
        nonlocal read
        for number, batch in enumerate(_batches(sources, options)):
            name = f"batch-{number:06d}.parquet"
            names.append(name)
            read += len(batch)
            if (scratch / name).is_file():
                bar.advance(len(batch))
            else:
                yield Batch(name, batch)

    with progress("judging pages", total=total, unit="pages") as bar:
        finished = map_batches(
            functools.partial(process, options=options, evaluation=evaluation),
            pending(),
            workers=options.workers or cores(),
            task_seconds=options.page_seconds,
            lost=_lost,
            prepare=functools.partial(prepare, options),
        )
        for name, rows in finished:
            write_table(rows_table(rows), scratch / name, draft=scratch / "draft")
            bar.advance(len(rows))
    return [scratch / name for name in names], read


def _batches(sources: list[Source], options: CorpusOptions) -> Iterator[list[Record]]:
    """Cut the records of all sources into batches of a fixed count, or fewer where they are large."""
    batch: list[Record] = []
    size_bytes = faults = 0
    for source in sources:
        dump = dump_of(source.file.name) if options.duplicates_within == "dump" else ""
        for record in source.records(options.max_page_bytes):
            if record.fault:
                faults += 1
                if faults <= FAULTS_SAID:
                    say(f"corpus: {record.fault}; everything else is used")
                if faults == FAULTS_SAID:
                    say("corpus: of further faults the ledger tells")
            batch.append(replace(record, dump=dump) if dump else record)
            size_bytes += len(record.payload)
            if len(batch) == BATCH_RECORDS or size_bytes >= BATCH_BYTES:
                yield batch
                batch, size_bytes = [], 0
    if batch:
        yield batch


def _forgotten_facts(forgotten: Forgotten, decisions: Decisions) -> dict[str, int]:
    """How many pages went, and how many lines of the file name none: a misspelt address forgets nothing."""
    pages, idle = 0, set(forgotten.lines)
    for rows in decisions.rows():
        urls = rows.filter(pl.col("reason") == FORGOTTEN)["url"]
        pages += len(urls)
        idle.difference_update(*map(forgotten.naming, urls))
    say(f"corpus: {pages} pages forgotten; {len(idle)} of {len(forgotten.lines)} lines to forget name no page here")
    return {"pages": pages, "lines": len(forgotten.lines), "lines_without_page": len(idle)}


def _contamination_facts(evaluation: Evaluation, decisions: Decisions) -> dict[str, dict[str, int]]:
    """By evaluation file: how much of it was looked for, and how many pages had a part of it."""
    numbers: Counter[str] = Counter()
    for rows in decisions.rows():
        numbers.update(rows["overlaps"].drop_nulls().str.split(",").explode().to_list())
    return {
        file.name: {"texts": file.texts, "too_short": file.too_short, "runs": file.runs, "pages": numbers[str(number)]}
        for number, file in enumerate(evaluation.files)
    }


def _lost(record: Record, how: str) -> Row:
    say(f"corpus: {record.url} killed its worker ({how}); the page is dropped, the work goes on")
    return Row(url=record.url, page_id=record.page_id, payload_bytes=len(record.payload)).dropped("extract", how)


def _expected_records(pages: Path | str) -> int | None:
    """How many records a pages artifact says it holds; unknown for a user's own files."""
    if is_remote(pages) or not is_artifact(Path(pages)):
        return None
    count = open_artifact(pages).facts.get("pages")
    return count if isinstance(count, int) else None


def _nothing_kept(pages: Path | str, facts: Mapping[str, Any]) -> str:
    if not facts["records"]:
        return f"{pages} holds no records: crawl or copy some pages first"
    counts = sorted(facts["reasons"].items(), key=lambda item: (-item[1], item[0]))[:8]
    listed = ", ".join(f"{reason} {count}" for reason, count in counts)
    count = facts["records"]
    return f"none of the {count} records of {pages} is worth keeping ({listed}): loosen the options or bring other pages"
