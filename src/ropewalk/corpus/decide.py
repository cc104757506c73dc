"""Look at all judged pages: sort them, drop duplicates, cut what they repeat, set some aside, count.

Memory holds numbers alone: about 30 bytes a record, 60 more for each document, and what `order`, `spill`, `hold_out`,
`lines` and `passages` say of themselves. URLs, texts and hashes stay on disk; but 64 bytes are held for each document that
others repeat, its page_id, and each host's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.best import STEPS, choose_best
from ropewalk.corpus.clusters import keepers, row_type
from ropewalk.corpus.duplicates import MINHASH_VERSION
from ropewalk.corpus.hold_out import held_out, ranks
from ropewalk.corpus.lines import frequent_lines, line_cutter
from ropewalk.corpus.order import blocks, sort_rows
from ropewalk.corpus.passages import find_repeats, passage_cutter
from ropewalk.corpus.texts import Texts
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
    "quantile",
    "repeats",
)
_BY_PAYLOAD = ("url", "read", "decode", "rights")  # stages before there is a text
_EXACT, _NEAR, _QUANTILE, _LINES, _PASSAGES = 1, 2, 3, 4, 5
_STAGE = {0: None, _EXACT: "exact_duplicate", _NEAR: "near_duplicate", _QUANTILE: "quantile"}
_STAGE |= {_LINES: "repeats", _PASSAGES: "repeats"}
_REASON = {0: None, _EXACT: None, _NEAR: None, _QUANTILE: None, _LINES: "lines", _PASSAGES: "passages"}  # None: what it was


@dataclass(frozen=True)
class Documents:
    """The documents kept, in corpus order: of each its number in input order, its size, and whether it is set aside."""

    at: np.ndarray
    text_bytes: np.ndarray
    held_out: np.ndarray


@dataclass(frozen=True)
class Decisions:
    """What becomes of every record.

    batches: where the texts of the documents are, numbered as in the input.
    """

    batches: list[Path]
    documents: Documents
    _sorted: list[Path]
    _state: _State

    def rows(self) -> Iterator[pl.DataFrame]:
        """The records in corpus order, some at a time: the columns of the ledger, those of `order.SCHEMA`, and `at`."""
        state, start = self._state, 0
        named = np.unique(state.first[(state.fate == _EXACT) | (state.fate == _NEAR)])
        names = np.empty(len(named), dtype="S64")  # 64 bytes for every document that others repeat
        for path in self._sorted:
            rows = pl.read_parquet(path)
            here = slice(start, start + len(rows))
            low, high = np.searchsorted(named, [here.start, here.stop])
            names[low:high] = rows["page_id"].gather(named[low:high] - here.start).to_numpy()
            duplicate = np.isin(state.fate[here], (_EXACT, _NEAR))
            first_page = np.full(len(rows), None, dtype=object)
            first_page[duplicate] = names[np.searchsorted(named, state.first[here][duplicate])].astype(str)
            fate = pl.Series(state.fate[here])
            repeats, worse = fate.is_in([_LINES, _PASSAGES]), fate == _QUANTILE
            yield rows.with_columns(
                stage=fate.replace_strict(_STAGE, return_dtype=pl.String).fill_null(rows["stage"]),
                reason=fate.replace_strict(_REASON, return_dtype=pl.String).fill_null(rows["reason"]),
                value=pl.when(repeats).then(None).when(worse).then(state.relevance(here)).otherwise(rows["value"]),
                threshold=pl.when(repeats).then(None).when(worse).then(state.least_relevance).otherwise(rows["threshold"]),
                characters=pl.Series(state.characters[here].astype(np.int64)),
                cut_characters=pl.Series(state.cut[here].astype(np.int64)),
                duplicate_of=pl.Series(first_page.tolist(), dtype=pl.String),
            )
            start = here.stop

    def facts(self) -> dict[str, Any]:
        """Counts for people: sizes, the funnel, what was dropped and why. Memory: the name of each host."""
        left: dict[str, Counter] = {name: Counter() for name in ("documents", "payload_bytes", "text_bytes")}
        dropped, reasons, rights, languages, hosts = Counter(), Counter(), Counter(), Counter(), Counter()
        licenses = 0
        for rows in self.rows():
            for stage, documents, payload_bytes, text_bytes in (
                rows.group_by("stage").agg(pl.len(), pl.sum("payload_bytes"), pl.sum("text_bytes")).iter_rows()
            ):
                left["documents"][stage] += documents
                left["payload_bytes"][stage] += payload_bytes
                left["text_bytes"][stage] += text_bytes
            gone = rows.filter(pl.col("stage") != "kept")
            read = rows.filter(pl.col("stage") != "read")
            _count(dropped, gone["stage"])
            _count(reasons, gone["reason"].replace("", None).fill_null(gone["stage"]))
            _count(rights, rows["rights"].drop_nulls().str.split(",").explode())
            licenses += rows["license"].count()
            _count(languages, read["language"].drop_nulls())
            _count(hosts, pl.Series([site_host(url) or "file" for url in read["url"]], dtype=pl.String))
        kept = self.documents
        least = self._state.least_relevance
        return {
            "records": len(self._state.fate),
            "documents": len(kept.at),
            "held_out_documents": int(kept.held_out.sum()),
            "characters": int(self._state.characters[self._state.kept].sum(dtype=np.int64)),
            "cut_characters": int(self._state.cut.sum(dtype=np.int64)),
            "bytes_utf8": int(kept.text_bytes.sum(dtype=np.int64)),
            "funnel": _funnel(left, int(kept.text_bytes.sum(dtype=np.int64))),
            "dropped": dict(sorted(dropped.items())),
            "reasons": dict(sorted(reasons.items())),
            "rights": {**dict(sorted(rights.items())), "license": licenses},
            "languages": dict(sorted(languages.items())),
            "hosts": dict(sorted(hosts.items())),
            "minhash": MINHASH_VERSION,
            **({"least_relevance": least} if least is not None else {}),
        }


class _State:
    """What is known of each record, in corpus order.

    at: its number in input order. fate: why it went here, 0 if it did not. kept: it is a document. first: the row that it
    repeats. characters, text_bytes, cut: sizes of the text as it stands, and what was cut out of it. scores: its relevance
    in millionths, where that is asked for; least_relevance: of the documents that were then kept.
    """

    scores: np.ndarray | None = None
    least_relevance: float | None = None

    def __init__(self, files: list[Path]) -> None:
        count = sum(pq.read_metadata(path).num_rows for path in files)
        rows, sizes = row_type(count), np.uint32
        self.at = np.empty(count, dtype=rows)
        self.kept = np.empty(count, dtype=bool)
        self.characters, self.text_bytes = np.empty(count, dtype=sizes), np.empty(count, dtype=sizes)
        start = 0
        for path in files:
            frame = pl.read_parquet(path, columns=["at", "stage", "characters", "text_bytes"])
            here = slice(start, start + len(frame))
            self.at[here] = frame["at"].to_numpy()
            self.kept[here] = (frame["stage"] == "kept").to_numpy()
            self.characters[here] = frame["characters"].to_numpy()
            self.text_bytes[here] = frame["text_bytes"].to_numpy()
            start = here.stop
        self.row_of = np.empty(count, dtype=rows)
        self.row_of[self.at] = np.arange(count, dtype=rows)
        self.fate = np.zeros(count, dtype=np.uint8)
        self.first = np.arange(count, dtype=rows)
        self.cut = np.zeros(count, dtype=sizes)

    def drop_duplicates(self, keeper: np.ndarray, fate: int) -> None:
        """Mark every kept row that has an earlier one in its cluster."""
        duplicate = np.flatnonzero(keeper != np.arange(len(keeper), dtype=keeper.dtype))
        self.first[duplicate] = keeper[duplicate]
        self.fate[duplicate] = fate
        self.kept[duplicate] = False

    def keep_best(self, batches: list[Path], ranks: Callable[[], np.ndarray], fraction: float) -> None:
        """Drop all documents but the fraction with the best scores."""
        self.scores = np.zeros(len(self.at), dtype=np.uint32)
        for start, block in blocks(batches, {"relevance": pl.Float64}):
            scores = (block["relevance"].fill_null(0) * STEPS).round().cast(pl.UInt32).to_numpy()
            self.scores[self.row_of[start : start + len(block)]] = scores
        rows = np.flatnonzero(self.kept)
        best = choose_best(self.scores[rows], ranks, fraction=fraction)
        self.fate[rows[~best]] = _QUANTILE
        self.kept[rows[~best]] = False
        if best.any():
            self.least_relevance = int(self.scores[rows[best]].min()) / STEPS

    def relevance(self, here: slice) -> pl.Series:
        """The relevance of some rows; null where it was not asked for."""
        if self.scores is None:
            return pl.repeat(None, here.stop - here.start, dtype=pl.Float64, eager=True)
        return pl.Series(self.scores[here] / STEPS)

    def cut_texts(self, texts: Texts, edit: Callable[[int, str], str], folder: Path, fate: int) -> Texts:
        """Edit the texts and take down what was cut; a document that is left without a word goes."""

        def note(row: int, before: str, after: str) -> None:
            self.cut[row] += len(before) - len(after)
            self.characters[row], self.text_bytes[row] = len(after), len(after.encode())
            if not after:
                self.fate[row], self.kept[row] = fate, False

        return texts.rewrite(edit, folder, note)


def decide(batches: list[Path], scratch: Path, options: CorpusOptions) -> Decisions:
    """Sort all rows by (url, page_id), drop duplicates in favour of the first, choose the held-out documents.

    Works in `scratch`, and leaves there what `Decisions` reads.
    """
    files = sort_rows(batches, scratch / "order")
    state = _State(files)
    names = ["page_id"] if "exact_duplicate" in options.leave_out else ["page_id", "text_hash"]
    state.drop_duplicates(_exact(files, state, scratch / "exact", names), _EXACT)
    if options.near_duplicates:
        state.drop_duplicates(_near(batches, state, scratch / "near", options.minhash_bands), _NEAR)
    if options.keep_fraction < 1:
        state.keep_best(batches, lambda: _ranks(files, state), options.keep_fraction)
    texts = _without_repeats(Texts(batches, state.row_of, state.kept), state, scratch, options)
    rows = np.flatnonzero(state.kept)
    aside = held_out(
        rows,
        _ranks(files, state),
        texts.read,
        fraction=options.held_out_fraction,
        max_overlap=options.held_out_max_overlap,
    )
    documents = Documents(state.at[rows], state.text_bytes[rows], np.isin(rows, list(aside)))
    return Decisions(texts.batches, documents, files, state)


def _exact(files: list[Path], state: _State, folder: Path, names: list[str]) -> np.ndarray:
    """The first row with the page_id, or the text, of each, among the rows kept so far. names: of the columns compared."""

    def digests() -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        start = 0
        for path in files:
            frame = pl.read_parquet(path, columns=names)
            here = np.flatnonzero(state.kept[start : start + len(frame)])
            yield here + start, [_halves(frame[name].gather(here)) for name in frame.columns]
            start += len(frame)

    return keepers(digests(), count=len(state.kept), expected=int(state.kept.sum()), lanes=2, folder=folder)


def _halves(digests: pl.Series) -> np.ndarray:
    """The first 128 bits of hexadecimal digests (N, 2): of a billion, two are the same by chance once in 10^20 times."""
    return np.frombuffer(b"".join(bytes.fromhex(digest[:32]) for digest in digests), dtype=np.uint64).reshape(-1, 2)


def _near(batches: list[Path], state: _State, folder: Path, bands: int) -> np.ndarray:
    """The first row linked with each by bands, among the rows kept so far."""

    def signatures() -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        for start, block in blocks(batches, {"bands": pl.Binary}):
            rows = state.row_of[start : start + len(block)]
            kept = np.flatnonzero(state.kept[rows])
            matrix = np.frombuffer(b"".join(block["bands"].gather(kept)), dtype="<u8").reshape(-1, bands)
            yield rows[kept], list(matrix.T)

    return keepers(signatures(), count=len(state.kept), expected=int(state.kept.sum()), lanes=1, folder=folder)


def _without_repeats(texts: Texts, state: _State, scratch: Path, options: CorpusOptions) -> Texts:
    """The texts without the lines and the passages that the options want cut."""
    if options.max_line_documents:
        size = int(state.text_bytes[state.kept].sum(dtype=np.int64))
        found = frequent_lines(texts, scratch / "lines", max_documents=options.max_line_documents, text_bytes=size)
        texts = state.cut_texts(texts, line_cutter(found), scratch / "without_lines", _LINES)
    if options.passage_words:
        size = int(state.text_bytes[state.kept].sum(dtype=np.int64))
        repeats = find_repeats(texts, scratch / "passages", length=options.passage_words, text_bytes=size)
        edit = passage_cutter(repeats, length=options.passage_words)
        texts = state.cut_texts(texts, edit, scratch / "without_passages", _PASSAGES)
    return texts


def _ranks(files: list[Path], state: _State) -> np.ndarray:
    """The rank of each document, in corpus order."""
    found, start = [], 0
    for path in files:
        page_ids = pl.read_parquet(path, columns=["page_id"])["page_id"]
        found.append(ranks(page_ids.gather(np.flatnonzero(state.kept[start : start + len(page_ids)]))))
        start += len(page_ids)
    return np.concatenate([np.zeros(0, dtype=np.uint64), *found])


def _funnel(left: dict[str, Counter], kept_bytes: int) -> list[dict[str, Any]]:
    """How many documents and bytes are left after each stage: bytes of payload first, UTF-8 of text from `extract` on."""
    totals = {name: counter.total() for name, counter in left.items()}
    funnel: list[dict[str, Any]] = [{"stage": "records", "documents": totals["documents"], "bytes": totals["payload_bytes"]}]
    for stage in STAGES:
        totals = {name: total - left[name][stage] for name, total in totals.items()}
        size = "payload_bytes" if stage in _BY_PAYLOAD else "text_bytes"
        funnel.append({"stage": stage, "documents": totals["documents"], "bytes": totals[size]})
    funnel[-1]["bytes"] = kept_bytes
    return funnel


def _count(counter: Counter, values: pl.Series) -> None:
    counter.update(dict(values.alias("value").value_counts().iter_rows()))
