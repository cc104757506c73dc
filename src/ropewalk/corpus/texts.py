"""The texts of the documents, a batch at a time: to read them all, and to write them anew with something cut out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Texts:
    """Where the texts are. Memory: a batch of them at a time.

    batches: files of texts, whose rows are numbered through. row_of: the row in corpus order of each of them. kept: whether
    a row in corpus order is a document.
    """

    batches: list[Path]
    row_of: np.ndarray
    kept: np.ndarray

    def read(self) -> Iterator[tuple[int, str]]:
        """The rows of all documents and their texts, in input order."""
        for path, rows in self._batches():
            texts = pq.read_table(path, columns=["text"])["text"].take(pa.array(np.flatnonzero(self.kept[rows])))
            yield from zip(rows[self.kept[rows]].tolist(), texts.to_pylist(), strict=True)

    def rewrite(self, edit: Callable[[int, str], str], folder: Path, note: Callable[[int, str, str], None]) -> Texts:
        """Write all batches anew to `folder`, texts as `edit(row, text)` has them, and tell `note(row, before, after)`."""
        folder.mkdir(parents=True, exist_ok=True)
        written = {}
        for path, rows in self._batches():
            table = pq.read_table(path)
            texts = table["text"].to_pylist()
            for place in np.flatnonzero(self.kept[rows]):
                before, row = texts[place], int(rows[place])
                texts[place] = edit(row, before)
                if texts[place] != before:
                    note(row, before, texts[place])
            written[path] = folder / path.name
            table = table.set_column(table.column_names.index("text"), "text", pa.array(texts, pa.string()))
            pq.write_table(table, written[path], compression="zstd")
        return replace(self, batches=[written.get(path, path) for path in self.batches])

    def _batches(self) -> Iterator[tuple[Path, np.ndarray]]:
        """The batches that hold documents, each with its rows in corpus order."""
        start = 0
        for path in self.batches:
            end = start + pq.read_metadata(path).num_rows
            rows = self.row_of[start:end]
            if self.kept[rows].any():
                yield path, rows
            start = end
