"""A few pages of every rule with the beginning of their text: what the rules do, for eyes.

Chosen by page_id, which is a hash: the choice does not depend on the order of the input, and a grown corpus mostly keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from ropewalk.artifact import Part
from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.decide import STAGES, Decisions
from ropewalk.corpus.forget import FORGOTTEN
from ropewalk.corpus.page import SAMPLE_CHARACTERS
from ropewalk.corpus.personal import replace_addresses
from ropewalk.runtime.lines import write_objects
from ropewalk.runtime.terminal import one_line

SAMPLES = "samples.jsonl"
KEPT = "kept"
SAMPLES_OF_A_RULE, SAMPLES_KEPT = 3, 6
_GROUP = ["stage", "rule"]
_COLUMNS = ["at", "stage", "reason", "url", "page_id", "value", "threshold", "characters", "duplicate_of"]


def write_samples(part: Part, batches: list[Path], decisions: Decisions, options: CorpusOptions) -> None:
    """Write samples.jsonl: by stage, the most frequent rules first, then by page_id. See `ropewalk.corpus` for its keys."""
    rows = _chosen(decisions.rows())
    texts = _dropped_texts(batches, rows["at"].to_list()) | _kept_texts(part.folder, rows)
    urls = _urls(decisions.rows(), rows["duplicate_of"].drop_nulls().to_list())
    samples: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows.to_dicts():
        text = texts.get(row["page_id"] if row["stage"] == KEPT else row["at"], "")
        if options.replace_addresses:
            text = replace_addresses(text, row["page_id"]).text
        sample = {name: row[name] for name in ("stage", "reason", "url", "page_id", "value", "threshold", "characters")}
        sample |= {"duplicate_of": urls.get(row["duplicate_of"]), "text": _shown(text)}
        # Of records that differ in nothing but their text, the same one whatever the order they came in.
        key = (row["stage"], row["rule"], row["page_id"])
        samples[key] = min(samples.get(key, sample), sample, key=lambda one: one["text"])
    write_objects(part.folder / SAMPLES, samples.values())


def _chosen(frames: Iterator[pl.DataFrame]) -> pl.DataFrame:
    """The rows of the first pages of each rule; `language=de` and `language=fr` are one rule. Forgotten pages stay so.

    Memory: one frame, and the rows chosen so far. Those of one page stand in one frame, for its name depends on its URL.
    """
    chosen, frequency = pl.DataFrame(), pl.DataFrame()
    for rows in frames:
        named = rows.select(_COLUMNS).filter(pl.col("reason") != FORGOTTEN)
        named = named.with_columns(rule=pl.col("reason").str.split("=").list.first())
        counted = pl.concat([frequency, named.group_by(_GROUP).agg(frequency=pl.len().cast(pl.Int64))], how="diagonal")
        frequency = counted.group_by(_GROUP).agg(pl.sum("frequency"))
        places = pl.col("page_id").rank("dense").over(_GROUP)
        limits = pl.when(pl.col("stage") == KEPT).then(SAMPLES_KEPT).otherwise(SAMPLES_OF_A_RULE)
        chosen = pl.concat([chosen, named], how="diagonal").with_columns(place=places).filter(pl.col("place") <= limits)
    order = pl.col("stage").replace_strict([*STAGES, KEPT], list(range(len(STAGES) + 1)), return_dtype=pl.Int64)
    chosen = chosen.join(frequency, on=_GROUP, how="left", maintain_order="left").with_columns(order=order)
    return chosen.sort("order", "frequency", "rule", "place", descending=[False, True, False, False], maintain_order=True)


def _dropped_texts(batches: list[Path], ats: list[int]) -> dict[int, str]:
    """The text of these records, by their number, as far as it was kept when they were dropped."""
    wanted, texts, start = sorted(ats), {}, 0
    for path in batches:
        count = pq.read_metadata(path).num_rows
        here = [at for at in wanted if start <= at < start + count]
        if here:
            column = pq.read_table(path, columns=["text"])["text"]
            texts |= {at: column[at - start].as_py() or "" for at in here}
        start += count
    return texts


def _kept_texts(folder: Path, rows: pl.DataFrame) -> dict[str, str]:
    """The text of kept pages, by page_id, as the documents have it."""
    kept = rows.filter(pl.col("stage") == KEPT)
    documents = pl.scan_parquet(sorted(folder.glob("documents-*.parquet")))
    # Documents are sorted by URL: that lets most of them be passed over.
    same = pl.col("url").is_in(kept["url"].to_list()) & pl.col("page_id").is_in(kept["page_id"].to_list())
    return dict(documents.filter(same).select("page_id", "text").collect().iter_rows())


def _urls(frames: Iterator[pl.DataFrame], page_ids: Iterable[str]) -> dict[str, str]:
    wanted, urls = set(page_ids), {}
    for rows in frames if wanted else ():
        urls |= dict(rows.filter(pl.col("page_id").is_in(list(wanted))).select("page_id", "url").iter_rows())
    return urls


def _shown(text: str) -> str:
    """The beginning of a text on one line."""
    return one_line(" ".join(text[:SAMPLE_CHARACTERS].split()))
