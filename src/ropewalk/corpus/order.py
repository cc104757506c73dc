"""Put the rows of all batches in corpus order, be they more than memory holds: into stretches of URLs, then each by itself.

What comes out is the order of all rows, however they came in and wherever the stretches were cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

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
FAN_OUT = 64  # files open at a time

_NUMBERED = pl.DataFrame(schema={**SCHEMA, "at": pl.Int64}).to_arrow().schema


def sort_rows(batches: list[Path], folder: Path, *, run_rows: int = RUN_ROWS) -> list[Path]:
    """Write the rows, but for their texts and bands, to files in corpus order, and `at`, their number in input order.

    Memory: `run_rows` rows two or three times over, some 500 bytes each, and a URL for every hundred rows. All rows of one
    URL are sorted together.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sampled = [frame.gather_every(SAMPLED_ROWS)["url"] for _, frame in blocks(batches, {"url": pl.String}, rows=run_rows)]
    numbered = (
        block.with_columns(at=pl.int_range(start, start + len(block), dtype=pl.Int64))
        for start, block in blocks(batches, SCHEMA, rows=run_rows)
    )
    paths: list[Path] = []
    for part in _stretches(numbered, pl.concat(sampled), folder / "part", run_rows) if sampled else ():
        paths.append(folder / f"rows-{len(paths):05d}.parquet")
        ordered = pl.read_parquet(part).sort(ORDER, maintain_order=True)
        pq.write_table(ordered.to_arrow().cast(_NUMBERED), paths[-1])  # polars' own writer hides that a disk is full
        part.unlink()
    return paths


def _stretches(rows: Iterable[pl.DataFrame], sampled: pl.Series, name: Path, run_rows: int) -> Iterator[Path]:
    """Files with the rows of a stretch of URLs each, stretch after stretch, about `run_rows` rows in each.

    Each row goes to one of at most FAN_OUT files by its URL; the rows of a file that is still too large then go to others in
    the same way. So each is written once more for every factor FAN_OUT, three times in all for a billion.

    sampled: one in SAMPLED_ROWS of the rows' URLs. name: what the files' names begin with.
    """
    cuts = _cuts(sampled, min(FAN_OUT, -(-len(sampled) * SAMPLED_ROWS // run_rows)))
    paths = [name.with_name(f"{name.name}-{number:02d}") for number in range(len(cuts) + 1)]
    sizes = [0] * len(paths)
    with ExitStack() as stack:
        files = [stack.enter_context(pq.ParquetWriter(path, _NUMBERED)) for path in paths]
        for frame in rows:
            place = cuts.search_sorted(frame["url"], side="right")
            for number in place.unique().sort().to_list():
                some = frame.filter(place == number)
                files[number].write_table(some.to_arrow().cast(_NUMBERED))
                sizes[number] += len(some)
    for path, size in zip(paths, sizes, strict=True):
        if size <= 2 * run_rows:
            yield path
            continue
        urls = pl.concat([frame.gather_every(SAMPLED_ROWS)["url"] for frame in _read(path, run_rows, columns=["url"])])
        if urls.n_unique() > 1:
            yield from _stretches(_read(path, run_rows), urls, path, run_rows)
            path.unlink()
        else:  # one URL, for all that is known
            yield path


def _read(path: Path, rows: int, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(rows, columns=columns):
            yield pl.DataFrame(batch)


def _cuts(sampled: pl.Series, stretches: int) -> pl.Series:
    """URLs that cut all into about so many stretches of equal size, ascending: a stretch begins with each but the first."""
    ordered = sampled.sort()
    starts = ordered.gather([len(ordered) * number // stretches for number in range(1, stretches)])
    return starts.filter(starts > ordered.first()).unique().sort() if len(starts) else starts


def blocks(batches: list[Path], schema: dict, *, rows: int = BLOCK_ROWS) -> Iterator[tuple[int, pl.DataFrame]]:
    """The columns of `schema` of all batches, in input order, as (number of the first row, at least `rows` rows)."""
    start, frames, size = 0, [], 0
    for path in batches:
        frames.append(pl.read_parquet(path, columns=list(schema)))
        size += len(frames[-1])
        if size >= rows or path is batches[-1]:
            yield start, pl.concat([pl.DataFrame(schema=schema), *frames])
            start, frames, size = start + size, [], 0
