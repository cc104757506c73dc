"""Build a corpus: judge pages in batches, find duplicates over all of them, write documents and ledger.

What survives an interruption is in scratch: `batch-SHARD-NUMBER.parquet`, a row per record, and a note for each shard that
has ended, which is not read again (`shards`). Everything after them is computed anew and quickly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from ropewalk.artifact import Part, is_artifact, is_remote, open_artifact
from ropewalk.config import input_fields
from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.cluster import check_ray, judge_with_ray
from ropewalk.corpus.contamination import Evaluation, write_runs
from ropewalk.corpus.costs import Costs
from ropewalk.corpus.decide import Decisions, decide
from ropewalk.corpus.forget import FORGOTTEN, Forgotten, read_forgotten
from ropewalk.corpus.languages import check_languages
from ropewalk.corpus.precise import load_trafilatura
from ropewalk.corpus.records import Source, check_columns, find_sources
from ropewalk.corpus.relevance import load_classifier
from ropewalk.corpus.rows import Columns
from ropewalk.corpus.samples import write_samples
from ropewalk.corpus.shards import Judged, Shelf, cut_shards, judge_shards
from ropewalk.corpus.slurm import check_slurm, hand_over
from ropewalk.corpus.urls import load_url_lists
from ropewalk.corpus.write import check_accounts, write_documents, write_ledger
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.runtime.machine import cores
from ropewalk.runtime.progress import progress, say


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
    if options.engine == "ray":
        check_ray(options)
    if options.engine == "slurm":
        check_slurm(options)
    if options.extractor == "precise":
        load_trafilatura()
    if is_remote(options.pages) or Path(options.pages).exists():
        check_columns(sources_of(options))


def make(part: Part, options: CorpusOptions, *, force: bool = False) -> Mapping[str, Any]:
    """Judge, deduplicate and write; returns the facts. See `ropewalk.artifact.build` for the rules it keeps.

    force: how the stage was called; Slurm's last job calls it the same way.
    """
    if options.classifier is not None:
        load_classifier(options.classifier)  # what is wrong with it is said here; in a worker it would cost every page
    if options.url_lists is not None:
        load_url_lists(options.url_lists)
    forgotten = read_forgotten(options.forget) if options.forget else None
    evaluation = write_runs(part, options) if options.decontaminate else None
    if options.engine != "local":
        options = _with_absolute_paths(options)  # other processes stand in other folders
    sources = sources_of(options)
    if options.engine == "slurm":
        hand_over(part, cut_shards(sources), options, evaluation, force=force)
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


def sources_of(options: CorpusOptions) -> list[Source]:
    """The files to read."""
    columns = Columns(options.text_column, options.url_column, options.id_column, options.date_column)
    return find_sources(options.pages, columns)


def _with_absolute_paths(options: CorpusOptions) -> CorpusOptions:
    given = {name: getattr(options, name) for name in input_fields(CorpusOptions)}
    paths = {name: Path(path).absolute() for name, path in given.items() if path is not None and not is_remote(path)}
    return replace(options, **paths)


def _judge(
    part: Part, sources: list[Source], options: CorpusOptions, evaluation: Evaluation | None
) -> tuple[list[Path], int]:
    """Judge every record; returns the batch files in input order, and how many records were read."""
    shards, shelf = cut_shards(sources), Shelf(part.scratch)
    ended = shelf.ended(shards)
    waiting = [shard for shard in shards if shard.number not in ended]
    made = shelf.names()
    done = sum(pq.read_metadata(part.scratch / name).num_rows for name in made)
    with progress("judging pages", total=_expected_records(options.pages), unit="pages", done=done) as bar:
        judge = judge_with_ray if options.engine == "ray" else judge_shards
        for outcome in judge(waiting, options, evaluation, workers=options.workers or cores(), made=made):
            shelf.keep(outcome)
            if isinstance(outcome, Judged):
                bar.advance(outcome.records)
            else:
                ended[outcome.shard] = outcome
    batches = [path for shard in shards for path in shelf.batches(ended[shard.number])]
    return batches, sum(shard.records for shard in ended.values())


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
