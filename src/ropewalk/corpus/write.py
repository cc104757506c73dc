"""Write what was decided: documents and ledger, in corpus order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ropewalk.artifact import Part
from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.decide import Decisions
from ropewalk.corpus.personal import replace_addresses
from ropewalk.corpus.tables import DOCUMENTS, LEDGER, write_table
from ropewalk.runtime.progress import progress

FILE_TEXT_BYTES = 128_000_000
LEDGER_ROWS = 1_000_000


def write_documents(part: Part, batches: list[Path], decisions: Decisions, options: CorpusOptions) -> dict[str, int]:
    """Write documents-NNNNN.parquet, each with about 128 MB of text; returns facts that only the written texts have.

    One pass deals the rows of all batches out to the file they belong in; then each file is sorted and written by itself.
    Memory holds one file's text at a time, however large the corpus.
    """
    before = decisions.documents["text_bytes"].cum_sum() - decisions.documents["text_bytes"]
    places = decisions.documents.select("at", "split").with_columns(file=before // FILE_TEXT_BYTES).with_row_index("place")
    count = int(places["file"].max() or 0) + 1  # pyright: ignore[reportArgumentType]
    facts: Counter[str] = Counter()
    drafts = [part.scratch / f"documents-{number:05d}.unsorted" for number in range(count)]
    with progress("writing documents", total=len(places), unit="documents") as bar:
        with ExitStack() as stack:
            schema = DOCUMENTS.append(pa.field("place", pa.int64()))
            writers = [stack.enter_context(pq.ParquetWriter(draft, schema, compression="zstd")) for draft in drafts]
            for number, table in _dealt(batches, places.sort("at")):
                table = _without_addresses(table, facts) if options.replace_addresses else table
                writers[number].write_table(table.select(schema.names).cast(schema))
                bar.advance(len(table))
        for number, draft in enumerate(drafts):
            table = pq.read_table(draft).sort_by("place").select(DOCUMENTS.names)
            write_table(table, part.folder / f"documents-{number:05d}.parquet", draft=part.scratch / "draft")
    return dict(facts)


def _without_addresses(table: pa.Table, facts: Counter[str]) -> pa.Table:
    cleaned = [
        replace_addresses(text, page_id)
        for text, page_id in zip(table["text"].to_pylist(), table["page_id"].to_pylist(), strict=True)
    ]
    facts["emails_replaced"] += sum(one.emails for one in cleaned)
    facts["ip_addresses_replaced"] += sum(one.ip_addresses for one in cleaned)
    texts = [one.text for one in cleaned]
    facts["characters"] += sum(map(len, texts))
    facts["bytes_utf8"] += sum(len(text.encode()) for text in texts)
    return table.set_column(table.column_names.index("text"), "text", pa.array(texts, pa.string()))


def _dealt(batches: list[Path], places: pl.DataFrame) -> Iterator[tuple[int, pa.Table]]:
    """The kept rows of each batch with `split` and `place`, as (number of the file they belong in, rows)."""
    ats = places["at"].to_numpy()
    start = 0
    for path in batches:
        with pq.ParquetFile(path) as file:
            end = start + file.metadata.num_rows
            low, high = np.searchsorted(ats, [start, end])
            here = places[int(low) : int(high)]
            if len(here):
                kept = file.read().take(pa.array(ats[low:high].astype(np.int64) - start))
                kept = kept.append_column("split", pa.array(here["split"].to_list()))
                kept = kept.append_column("place", pa.array(here["place"].to_numpy().astype(np.int64)))
                for number in here["file"].unique(maintain_order=True):
                    yield number, kept.filter(pa.array((here["file"] == number).to_numpy()))
        start = end


def write_ledger(part: Part, decisions: Decisions) -> None:
    """Write ledger-NNNNN.parquet: every record once."""
    ledger = decisions.rows.select(LEDGER.names)
    for number, start in enumerate(range(0, len(ledger), LEDGER_ROWS)):
        table = ledger.slice(start, LEDGER_ROWS).to_arrow().cast(LEDGER)
        write_table(table, part.folder / f"ledger-{number:05d}.parquet", draft=part.scratch / "draft")


def check_accounts(part: Part, read: int, facts: Mapping[str, Any]) -> None:
    """Every record that was read has a row in the ledger, and is a document or dropped: counted in what was written."""
    written = {
        name: sum(pq.read_metadata(path).num_rows for path in part.folder.glob(f"{name}-*.parquet"))
        for name in ("ledger", "documents")
    }
    dropped = sum(facts["dropped"].values())
    assert read == written["ledger"] == written["documents"] + dropped, f"{read} records read, but {written}, {dropped=}"
