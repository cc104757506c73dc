"""Read a finished corpus: its documents in stored order, its ledger, its samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ropewalk.artifact import open_artifact
from ropewalk.runtime.lines import read_objects


def read_documents(
    corpus: Path, *, columns: tuple[str, ...], split: Literal["train", "held_out"] | None = None, batch_rows: int = 1_000
) -> Iterator[pa.RecordBatch]:
    """Stream documents in stored order, that is by (url, page_id).

    Args:
        columns: of text, url, page_id, language, language_score, relevance, date, title, rights, license, split.
        split: one split only; None for both.
        batch_rows: most rows in a batch; batches are smaller where a split was asked for.

    Raises:
        ArtifactError: `corpus` is no finished corpus.
    """
    needed = list(dict.fromkeys((*columns, "split")))
    for path in open_artifact(corpus, "corpus").files(".parquet"):
        if not path.name.startswith("documents-"):
            continue
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=batch_rows, columns=needed):
                wanted = batch if split is None else batch.filter(pc.field("split") == split)
                if wanted.num_rows:
                    yield wanted.select(list(columns))


def read_ledger(corpus: Path) -> pa.Table:
    """What became of every input record, by (url, page_id)."""
    files = open_artifact(corpus, "corpus").files(".parquet")
    return pa.concat_tables([pq.read_table(path) for path in files if path.name.startswith("ledger-")])


def read_records(corpus: Path, urls: Iterable[str]) -> list[dict[str, Any]]:
    """The rows of the ledger with one of these addresses. Sorted by address as it is, most of it is passed over."""
    files = open_artifact(corpus, "corpus").files(".parquet")
    wanted = pc.field("url").isin(list(urls))
    tables = [pq.read_table(path, filters=wanted) for path in files if path.name.startswith("ledger-")]
    return [row for table in tables for row in table.to_pylist()]


def read_samples(corpus: Path) -> list[dict[str, Any]]:
    """Some pages of every rule, in the order of the stages; none in a corpus made before there were any."""
    files = open_artifact(corpus, "corpus").files("samples.jsonl")
    return [sample for path in files for _, sample in read_objects(path)]
