"""Token shards: flat files of ids with a row per document, written once, read by memory map."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ropewalk.artifact import Part, open_artifact
from ropewalk.artifact.build import write_atomically

DOCUMENT = np.dtype([("first_token", "<u8"), ("tokens", "<u4"), ("held_out", "u1"), ("page_id", "V32")])
DOCUMENTS = "documents.npy"


@dataclass(frozen=True)
class Document:
    """One document as tokens: the boundary, then its own. `loss_mask` is uint8, or None where all tokens are learned."""

    ids: np.ndarray
    loss_mask: np.ndarray | None
    held_out: bool
    page_id: bytes


class ShardWriter:
    """Fill shards in order. A document that would overfill a shard opens the next, so files depend on nothing else.

    A finished shard leaves its rows and a note in scratch, the note last; after a kill the writer stands after the last
    shard with a note, and `documents` says how many documents need not come again.
    """

    def __init__(self, part: Part, *, bytes_per_token: np.ndarray, shard_tokens: int, masked: bool) -> None:
        self._part, self._scratch = part, part.scratch
        self._bytes_per_token = bytes_per_token
        self._shard_tokens = shard_tokens
        self._suffixes = ("tokens", "mask") if masked else ("tokens",)
        self.dtype = np.dtype("<u2" if len(bytes_per_token) <= 2**16 else "<u4")
        self._notes: list[dict[str, int]] = []
        while (note := self._note(len(self._notes))).is_file():
            self._notes.append(json.loads(note.read_text()))
        self.documents = sum(note["documents"] for note in self._notes)
        self.tokens = sum(note["tokens"] for note in self._notes)
        self._open_shard()

    def add(self, document: Document) -> None:
        """Append one document."""
        count = len(document.ids)
        if self._sums["tokens"] and self._sums["tokens"] + count > self._shard_tokens:
            self._close_shard()
            self._open_shard()
        self._files[0].write(document.ids.astype(self.dtype).tobytes())
        if document.loss_mask is not None:
            self._files[1].write(document.loss_mask.tobytes())
        self._rows.append((self.tokens, count, document.held_out, document.page_id))
        lengths = self._bytes_per_token[document.ids]
        self._sums["documents"] += 1
        self._sums["tokens"] += count
        self._sums["held_out_documents"] += document.held_out
        self._sums["held_out_tokens"] += count * document.held_out
        self._sums["text_tokens"] += int(np.count_nonzero(lengths))
        self._sums["bytes"] += int(lengths.sum())
        if document.loss_mask is not None:
            self._sums["learned_tokens"] += int(document.loss_mask.sum())
        self.documents += 1
        self.tokens += count

    def finish(self) -> Mapping[str, Any]:
        """Close the last shard, write the index, return the facts."""
        if self._sums["documents"]:
            self._close_shard()
        self._write_index()
        totals = {key: sum(note[key] for note in self._notes) for key in self._sums}
        text_tokens = totals.pop("text_tokens")
        return {
            **totals,
            "bytes_per_token": round(totals["bytes"] / text_tokens, 4) if text_tokens else None,
            "vocabulary": len(self._bytes_per_token),
            "dtype": self.dtype.name,
            "shards": len(self._notes),
        }

    def _write_index(self) -> None:
        index = np.lib.format.open_memmap(self._part.folder / DOCUMENTS, mode="w+", dtype=DOCUMENT, shape=(self.documents,))
        first = 0
        for shard, note in enumerate(self._notes):
            index[first : first + note["documents"]] = np.load(self._rows_path(shard))
            first += note["documents"]
        index.flush()

    def close(self) -> None:
        """Let go of the files, finished or not."""
        for file in self._files:
            file.close()

    def _open_shard(self) -> None:
        self._files: list[BinaryIO] = [self._draft(suffix).open("wb") for suffix in self._suffixes]
        self._rows: list[tuple[int, int, bool, bytes]] = []
        keys = ("documents", "tokens", "held_out_documents", "held_out_tokens", "text_tokens", "bytes")
        self._sums: dict[str, int] = dict.fromkeys((*keys, "learned_tokens") if "mask" in self._suffixes else keys, 0)

    def _close_shard(self) -> None:
        shard = len(self._notes)
        for suffix, file in zip(self._suffixes, self._files, strict=True):
            file.flush()
            os.fsync(file.fileno())
            file.close()
            self._draft(suffix).replace(self._part.folder / f"{suffix}-{shard:05d}.bin")
        np.save(self._rows_path(shard), np.array(self._rows, dtype=DOCUMENT), allow_pickle=False)
        write_atomically(self._note(shard), json.dumps(self._sums))
        self._notes.append(self._sums)

    def _draft(self, suffix: str) -> Path:
        return self._scratch / f"{suffix}.bin"

    def _rows_path(self, shard: int) -> Path:
        return self._scratch / f"documents-{shard:05d}.npy"

    def _note(self, shard: int) -> Path:
        return self._scratch / f"shard-{shard:05d}.json"


class TokenReader:
    """A `tokens` artifact as one long row of ids, read by memory map.

    documents: structured array, a row per document in order: first_token, tokens, held_out, page_id.
    digest: the artifact's own; with a seed and a step it fixes what a training run reads.
    """

    def __init__(self, folder: Path) -> None:
        """Open a tokens artifact. Raises ArtifactError if there is none, or it is damaged."""
        artifact = open_artifact(folder, "tokens")
        self.digest = artifact.digest
        self.facts = artifact.facts
        self.dtype = np.dtype(artifact.facts["dtype"]).newbyteorder("<")
        self.documents: np.ndarray = np.load(artifact.path / DOCUMENTS, mmap_mode="r")
        tokens = [path for path in artifact.files(".bin") if path.name.startswith("tokens-")]
        masks = [path for path in artifact.files(".bin") if path.name.startswith("mask-")]
        self._tokens = [np.memmap(path, dtype=self.dtype, mode="r") for path in tokens]
        self._masks = [np.memmap(path, dtype=np.uint8, mode="r") for path in masks]
        self._ends = np.cumsum([len(shard) for shard in self._tokens])
        self.total_tokens = int(self._ends[-1])

    def rows_of(self, page_ids: Collection[str]) -> list[int]:
        """The rows of `documents` that come from these pages."""
        wanted = np.array([bytes.fromhex(page_id) for page_id in page_ids], dtype="V32")
        return np.flatnonzero(np.isin(self.documents["page_id"], wanted)).tolist()

    def read(self, first: int, count: int) -> np.ndarray:
        """`count` ids from `first` on, across shards, as a copy in `dtype`."""
        return self._read(self._tokens, first, count)

    def read_mask(self, first: int, count: int) -> np.ndarray:
        """uint8 for the same span: 1 where the token is to be learned; all ones for documents."""
        if not self._masks:
            self._check(first, count)
            return np.ones(count, dtype=np.uint8)
        return self._read(self._masks, first, count)

    def _read(self, shards: list[np.memmap], first: int, count: int) -> np.ndarray:
        self._check(first, count)
        shard = int(np.searchsorted(self._ends, first, side="right"))
        pieces = [np.empty(0, dtype=shards[0].dtype)]
        while count > 0:
            inside = first - (int(self._ends[shard - 1]) if shard else 0)
            piece = shards[shard][inside : inside + count]
            pieces.append(piece)
            first, count, shard = first + len(piece), count - len(piece), shard + 1
        return np.concatenate(pieces)

    def _check(self, first: int, count: int) -> None:
        assert min(first, count) >= 0 and first + count <= self.total_tokens, f"no tokens {first} to {first + count}"
