"""Put the rows of all batches in corpus order, be they more than memory holds: sorted runs, then stretches of URLs in turn.

The stretches are cut by the URLs themselves, so what comes out is the order of all rows, however they came in.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import polars as pl

SCHEMA = {
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
}
# Records that agree in all of these give the same bytes in any order.
ORDER = ["url", "page_id", "text_hash", "date", "title", "rights", "license"]
ORDER += ["stage", "reason", "value", "characters", "payload_bytes"]
RUN_ROWS = 200_000
BLOCK_ROWS = 65_536
SAMPLED_ROWS = 100


def sort_rows(batches: list[Path], folder: Path, *, run_rows: int = RUN_ROWS) -> list[Path]:
    """Write the rows, but for their texts and bands, to files in corpus order, and `at`, their number in input order.

    Memory: `run_rows` rows two or three times over, some 500 bytes each, and a URL for every hundred rows. All rows of one
    URL are sorted together.
    """
    folder.mkdir(parents=True, exist_ok=True)
    runs: list[Path] = []
    for start, block in blocks(batches, SCHEMA, rows=run_rows):
        runs.append(folder / f"run-{len(runs):05d}.parquet")
        numbered = block.with_columns(at=pl.int_range(start, start + len(block), dtype=pl.Int64))
        numbered.sort(ORDER, maintain_order=True).write_parquet(runs[-1], row_group_size=run_rows // 16 + 1)
    if len(runs) < 2:
        return runs
    sampled = pl.concat([pl.read_parquet(run, columns=["url"]).gather_every(SAMPLED_ROWS) for run in runs])["url"].sort()
    cuts = sampled.gather_every(max(1, run_rows // SAMPLED_ROWS)).unique(maintain_order=True).to_list()[1:]
    paths = []
    for number, (low, high) in enumerate(pairwise([None, *cuts, None])):
        rows = pl.scan_parquet(runs)
        rows = rows if low is None else rows.filter(pl.col("url") >= low)
        rows = rows if high is None else rows.filter(pl.col("url") < high)
        paths.append(folder / f"rows-{number:05d}.parquet")
        rows.collect().sort(ORDER, maintain_order=True).write_parquet(paths[-1])
    for run in runs:
        run.unlink()
    return paths


def blocks(batches: list[Path], schema: dict, *, rows: int = BLOCK_ROWS) -> Iterator[tuple[int, pl.DataFrame]]:
    """The columns of `schema` of all batches, in input order, as (number of the first row, at least `rows` rows)."""
    start, frames, size = 0, [], 0
    for path in batches:
        frames.append(pl.read_parquet(path, columns=list(schema)))
        size += len(frames[-1])
        if size >= rows or path is batches[-1]:
            yield start, pl.concat([pl.DataFrame(schema=schema), *frames])
            start, frames, size = start + size, [], 0
