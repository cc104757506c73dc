"""Look at all judged pages at once: sort them, drop duplicates, set some aside, count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.duplicates import MINHASH_VERSION, keepers
from ropewalk.corpus.hold_out import held_out
from ropewalk.crawl.urls import site_host

STAGES = (
    "url",
    "read",
    "decode",
    "rights",
    "extract",
    "language",
    "quality",
    "relevance",
    "contamination",
    "exact_duplicate",
    "near_duplicate",
)
_SCHEMA = {
    "url": pl.String,
    "page_id": pl.String,
    "payload_bytes": pl.Int64,
    "stage": pl.String,
    "reason": pl.String,
    "value": pl.Float64,
    "threshold": pl.Float64,
    "characters": pl.Int64,
    "text_bytes": pl.Int64,
    "language": pl.String,
    "date": pl.Date,
    "title": pl.String,
    "rights": pl.String,
    "license": pl.String,
    "overlaps": pl.String,
    "text_hash": pl.String,
    "bands": pl.Binary,
}
# Records that agree in all of these give the same bytes in any order.
_ORDER = ["url", "page_id", "text_hash", "date", "title", "rights", "license"]
_ORDER += ["stage", "reason", "value", "characters", "payload_bytes"]


@dataclass(frozen=True)
class Decisions:
    """What becomes of every record.

    rows: a row per record in corpus order: the batch columns but text, `at` (its number in input order), `duplicate_of`.
    documents: `at`, `characters`, `text_bytes` and `split` of those kept, in corpus order.
    """

    rows: pl.DataFrame
    documents: pl.DataFrame

    def facts(self) -> dict[str, Any]:
        """Counts for people: sizes, the funnel, what was dropped and why."""
        rows, documents = self.rows, self.documents
        dropped = rows.filter(pl.col("stage") != "kept")
        read = rows.filter(pl.col("stage") != "read")
        return {
            "records": len(rows),
            "documents": len(documents),
            "held_out_documents": int((documents["split"] == "held_out").sum()),
            "characters": int(documents["characters"].sum()),
            "bytes_utf8": int(documents["text_bytes"].sum()),
            "funnel": _funnel(rows),
            "dropped": _counts(dropped["stage"]),
            "reasons": _counts(dropped["reason"].replace("", None).fill_null(dropped["stage"])),
            "rights": {**_counts(rows["rights"].drop_nulls().str.split(",").explode()), "license": rows["license"].count()},
            "languages": _counts(read["language"].drop_nulls()),
            "hosts": _counts(pl.Series([site_host(url) or "file" for url in read["url"]], dtype=pl.String)),
            "minhash": MINHASH_VERSION,
        }


def decide(batches: list[Path], options: CorpusOptions) -> Decisions:
    """Sort all rows by (url, page_id), drop duplicates in favour of the first, choose the held-out documents."""
    frames = [pl.read_parquet(path, columns=list(_SCHEMA)) for path in batches]
    rows = pl.concat([pl.DataFrame(schema=_SCHEMA), *frames]).with_row_index("at").sort(_ORDER, maintain_order=True)
    rows = rows.with_columns(duplicate_of=pl.lit(None, dtype=pl.String))
    rows = _drop_duplicates(rows, "exact_duplicate", lambda kept: [kept["page_id"], kept["text_hash"]])
    if options.near_duplicates:
        rows = _drop_duplicates(rows, "near_duplicate", lambda kept: _bands(kept["bands"], options.minhash_bands))
    documents = rows.filter(pl.col("stage") == "kept").select("at", "page_id", "characters", "text_bytes")
    aside = held_out(
        documents["page_id"].to_list(),
        lambda: _texts(batches, documents),
        fraction=options.held_out_fraction,
        max_overlap=options.held_out_max_overlap,
    )
    split = pl.Series(["held_out" if place in aside else "train" for place in range(len(documents))], dtype=pl.String)
    return Decisions(rows.drop("bands", "text_hash", "date", "title"), documents.with_columns(split=split))


def _drop_duplicates(rows: pl.DataFrame, stage: str, keys: Callable[[pl.DataFrame], list[pl.Series]]) -> pl.DataFrame:
    """Mark every kept row that has an earlier kept row in its cluster, and name that row's page."""
    kept = rows.with_row_index("row").filter(pl.col("stage") == "kept")
    if kept.is_empty():
        return rows
    first = keepers(keys(kept))
    duplicate = first != np.arange(len(first))
    marks = pl.DataFrame(
        {"row": kept["row"].filter(pl.Series(duplicate)), "first_page": kept["page_id"].gather(first[duplicate])}
    )
    marked = rows.with_row_index("row").join(marks, on="row", how="left", maintain_order="left")
    is_duplicate = pl.col("first_page").is_not_null()
    return marked.with_columns(
        stage=pl.when(is_duplicate).then(pl.lit(stage)).otherwise(pl.col("stage")),
        duplicate_of=pl.coalesce("first_page", "duplicate_of"),
    ).drop("row", "first_page")


def _bands(packed: pl.Series, bands: int) -> list[pl.Series]:
    """The band hashes of all documents, a column per band."""
    matrix = np.frombuffer(b"".join(packed.to_list()), dtype="<u8").reshape(-1, bands)
    return [pl.Series(matrix[:, band]) for band in range(bands)]


def _texts(batches: list[Path], documents: pl.DataFrame) -> Iterator[tuple[int, str]]:
    """The kept documents' places in corpus order, and their texts, in input order."""
    places = dict(zip(documents["at"].to_list(), range(len(documents)), strict=True))
    start = 0
    for path in batches:
        texts = pl.read_parquet(path, columns=["text"])["text"]
        for offset, text in enumerate(texts):
            if start + offset in places:
                yield places[start + offset], text
        start += len(texts)


def _funnel(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """How many documents and bytes are left after each stage: bytes of payload first, UTF-8 of text from `extract` on."""
    funnel: list[dict[str, Any]] = [{"stage": "records", "documents": len(rows), "bytes": int(rows["payload_bytes"].sum())}]
    left = rows
    for stage in STAGES:
        left = left.filter(pl.col("stage") != stage)
        size = "payload_bytes" if stage in ("url", "read", "decode", "rights") else "text_bytes"
        funnel.append({"stage": stage, "documents": len(left), "bytes": int(left[size].sum())})
    return funnel


def _counts(values: pl.Series) -> dict[str, int]:
    """How often each value occurs, in name order."""
    counted = values.alias("value").value_counts().sort("value")
    return {str(value): int(count) for value, count in counted.iter_rows()}
