"""A shard: what is judged in one piece, here or on another machine. Judging it needs the options and its files, no more.

A WARC or a table is a shard by itself; of loose files many make one. Its records are cut into batches by the input alone,
so whoever judges a shard, however often it is begun anew, makes batches of the same names and rows.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ropewalk.artifact.build import write_atomically
from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.contamination import Evaluation
from ropewalk.corpus.duplicates import dump_of
from ropewalk.corpus.page import Row, prepare, process
from ropewalk.corpus.pool import Batch, map_batches
from ropewalk.corpus.records import Record, Source, is_warc
from ropewalk.corpus.rows import is_table
from ropewalk.corpus.tables import encode_table, rows_table, write_bytes
from ropewalk.runtime.progress import say

BATCH_RECORDS = 128
BATCH_BYTES = 8_000_000
SHARD_FILES = 1_024  # loose ones
FAULTS_SAID = 20


@dataclass(frozen=True)
class Shard:
    """Files that are judged together, and the shard's place in the input."""

    number: int
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Judged:
    """A batch as it is kept: `content` is Parquet, a row for each of its `records`."""

    name: str
    records: int
    content: bytes


@dataclass(frozen=True)
class Ended:
    """All batches of a shard are judged. records: those read, counted at the source."""

    shard: int
    batches: int
    records: int


def cut_shards(sources: Sequence[Source]) -> list[Shard]:
    """The shards of all sources, in their order."""
    packed = [source for source in sources if is_warc(source.file.name) or is_table(source.file.name)]
    loose = [source for source in sources if not (is_warc(source.file.name) or is_table(source.file.name))]
    groups = [(source,) for source in packed]
    groups += [tuple(loose[start : start + SHARD_FILES]) for start in range(0, len(loose), SHARD_FILES)]
    return [Shard(number, group) for number, group in enumerate(groups)]


def judge_shards(
    shards: Sequence[Shard],
    options: CorpusOptions,
    evaluation: Evaluation | None,
    *,
    workers: int,
    made: Collection[str],
) -> Iterator[Judged | Ended]:
    """Judge the batches of some shards that are not `made`, in a pool of `workers` processes; yields as they finish.

    Raises:
        InputError: a file lies elsewhere and cannot be had. MachineError: workers cannot start.
    """
    if not shards:
        return
    awaited: dict[int, set[str]] = {}
    read: dict[int, Ended] = {}

    def pending() -> Iterator[Batch[Record]]:
        for shard in shards:
            names = awaited[shard.number] = set()
            batches = records = 0
            for batch in _cut_batches(shard, options):
                name = batch_name(shard.number, batches)
                batches, records = batches + 1, records + len(batch)
                if name not in made:
                    names.add(name)
                    yield Batch(name, batch)
            read[shard.number] = Ended(shard.number, batches, records)

    judged = map_batches(
        functools.partial(process, options=options, evaluation=evaluation),
        pending(),
        workers=workers,
        task_seconds=options.page_seconds,
        lost=_lost,
        prepare=functools.partial(prepare, options),
    )
    for name, rows in judged:
        yield Judged(name, len(rows), encode_table(rows_table(rows)))
        for names in awaited.values():
            names.discard(name)
        for number in [number for number in read if not awaited[number]]:
            del awaited[number]
            yield read.pop(number)
    while read:  # where nothing was to be judged; not 'yield from', for Ray's send() needs a generator to receive it
        yield read.pop(min(read))


def _cut_batches(shard: Shard, options: CorpusOptions) -> Iterator[list[Record]]:
    """Cut the records of a shard into batches of a fixed count, or fewer where they are large."""
    batch: list[Record] = []
    size_bytes = faults = 0
    for source in shard.sources:
        dump = dump_of(source.file.name) if options.duplicates_within == "dump" else ""
        for record in source.records(options.max_page_bytes):
            if record.fault:
                faults += 1
                if faults <= FAULTS_SAID:
                    say(f"corpus: {record.fault}; everything else is used")
                if faults == FAULTS_SAID:
                    say(f"corpus: of further faults in {source.file.name} the ledger tells")
            batch.append(replace(record, dump=dump) if dump else record)
            size_bytes += len(record.payload)
            if len(batch) == BATCH_RECORDS or size_bytes >= BATCH_BYTES:
                yield batch
                batch, size_bytes = [], 0
    if batch:
        yield batch


def _lost(record: Record, how: str) -> Row:
    say(f"corpus: {record.url} killed its worker ({how}) twice; the page is dropped, the work goes on")
    return Row(url=record.url, page_id=record.page_id, payload_bytes=len(record.payload)).dropped("extract", how)


def batch_name(shard: int, batch: int) -> str:
    return f"batch-{shard:06d}-{batch:06d}.parquet"


@dataclass(frozen=True)
class Shelf:
    """The folder where judged batches lie, and a note for each shard that has ended."""

    folder: Path

    def keep(self, outcome: Judged | Ended) -> None:
        """Put something on the shelf, whole or not at all. Several processes may do so, each with shards of its own."""
        if isinstance(outcome, Judged):
            write_bytes(outcome.content, self.folder / outcome.name)
        else:
            write_atomically(self._note(outcome.shard), json.dumps(asdict(outcome)))

    def names(self) -> frozenset[str]:
        """Of the batches that lie here."""
        return frozenset(path.name for path in self.folder.glob("batch-*-*.parquet"))

    def ended(self, shards: Sequence[Shard]) -> dict[int, Ended]:
        """Of these shards the ones that have ended, by number."""
        notes = {shard.number: self._note(shard.number) for shard in shards}
        return {
            number: Ended(**json.loads(note.read_text(encoding="utf-8"))) for number, note in notes.items() if note.is_file()
        }

    def batches(self, ended: Ended) -> list[Path]:
        """The batches of a shard, in input order."""
        return [self.folder / batch_name(ended.shard, number) for number in range(ended.batches)]

    def _note(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:06d}.json"
