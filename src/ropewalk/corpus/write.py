"""Write what was decided: documents and ledger, in corpus order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ropewalk.artifact import Part
from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.decide import Decisions, Documents
from ropewalk.corpus.personal import replace_addresses
from ropewalk.corpus.tables import DOCUMENTS, LEDGER, write_table
from ropewalk.runtime.progress import progress

FILE_TEXT_BYTES = 128_000_000
LEDGER_ROWS = 1_000_000


def write_documents(part: Part, decisions: Decisions, options: CorpusOptions) -> dict[str, int]:
    """Write documents-NNNNN.parquet, each with about 128 MB of text; returns facts that only the written texts have.

    One pass deals the rows of all batches out to the file they belong in; then each file is sorted and written by itself.
    Memory holds one file's text, two or three times, however large the corpus; and 30 bytes a document.
    """
    documents = decisions.documents
    sizes = documents.text_bytes.astype(np.int64)
    files = (np.cumsum(sizes) - sizes) // FILE_TEXT_BYTES
    drafts = [part.scratch / f"documents-{number:05d}.unsorted" for number in range(int(files.max(initial=0)) + 1)]
    for draft in drafts:
        draft.unlink(missing_ok=True)
    facts: Counter[str] = Counter()
    schema = DOCUMENTS.append(pa.field("place", pa.int64()))
    with progress("writing documents", total=len(files), unit="documents") as bar:
        for table in _placed(decisions.batches, documents):
            table = _without_addresses(table, facts) if options.replace_addresses else table
            for number, rows in _dealt(table, files):
                # Appended one after the other: a file for each of 128 MB is more than may be open at a time.
                with drafts[number].open("ab") as file, pa.ipc.new_stream(file, schema) as stream:
                    stream.write_table(rows.select(schema.names).cast(schema))
                bar.advance(len(rows))
        for number, draft in enumerate(drafts):
            table = _streams(draft, schema).sort_by("place").select(DOCUMENTS.names)
            write_table(table, part.folder / f"documents-{number:05d}.parquet", draft=part.scratch / "draft")
            draft.unlink()
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


def _placed(batches: list[Path], documents: Documents) -> Iterator[pa.Table]:
    """The documents with `split` and `place`, in input order, in tables of about 128 MB."""
    order = np.argsort(documents.at)
    ats = documents.at[order]
    tables: list[pa.Table] = []
    start = size_bytes = 0
    for path in batches:
        end = start + pq.read_metadata(path).num_rows
        low, high = np.searchsorted(ats, np.array([start, end], dtype=ats.dtype))
        if low < high:
            kept = pq.read_table(path).take(pa.array(ats[low:high].astype(np.int64) - start))
            places = order[low:high]
            split = np.where(documents.held_out[places], "held_out", "train")
            tables.append(kept.append_column("split", pa.array(split)).append_column("place", pa.array(places)))
            size_bytes += kept.nbytes
        start = end
        if size_bytes >= FILE_TEXT_BYTES:
            yield pa.concat_tables(tables)
            tables, size_bytes = [], 0
    if tables:
        yield pa.concat_tables(tables)


def _dealt(table: pa.Table, files: np.ndarray) -> Iterator[tuple[int, pa.Table]]:
    """The rows by (number of the file they belong in)."""
    file = files[table["place"].to_numpy()]
    order = np.argsort(file, kind="stable")
    numbers, starts = np.unique(file[order], return_index=True)
    for number, rows in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
        yield number, table.take(pa.array(rows))


def _streams(path: Path, schema: pa.Schema) -> pa.Table:
    """All that was appended to a draft."""
    tables = [schema.empty_table()]
    with path.open("rb") as file:
        size = path.stat().st_size
        while file.tell() < size:
            with pa.ipc.open_stream(file) as stream:
                tables.append(stream.read_all())
    return pa.concat_tables(tables)


def write_ledger(part: Part, decisions: Decisions) -> None:
    """Write ledger-NNNNN.parquet: every record once. Memory holds one file of them, a million."""
    number, waiting = 0, LEDGER.empty_table()
    for rows in decisions.rows():
        waiting = pa.concat_tables([waiting, rows.select(LEDGER.names).to_arrow().cast(LEDGER)])
        while len(waiting) > LEDGER_ROWS:
            _write_ledger(part, number, waiting.slice(0, LEDGER_ROWS))
            number, waiting = number + 1, waiting.slice(LEDGER_ROWS)
    _write_ledger(part, number, waiting)


def _write_ledger(part: Part, number: int, rows: pa.Table) -> None:
    write_table(rows, part.folder / f"ledger-{number:05d}.parquet", draft=part.scratch / "draft")


def check_accounts(part: Part, read: int, facts: Mapping[str, Any]) -> None:
    """Every record that was read has a row in the ledger, and is a document or dropped: counted in what was written."""
    written = {
        name: sum(pq.read_metadata(path).num_rows for path in part.folder.glob(f"{name}-*.parquet"))
        for name in ("ledger", "documents")
    }
    dropped = sum(facts["dropped"].values())
    assert read == written["ledger"] == written["documents"] + dropped, f"{read} records read, but {written}, {dropped=}"
