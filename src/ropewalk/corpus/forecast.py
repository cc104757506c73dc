"""What a corpus of so many pages will take, told from what a smaller one took.

A finished corpus has what each phase took among its logs (`costs`), and the sizes of its parts in its files. What grows with
the pages is multiplied; what a phase holds or rereads beyond that is known from how the phase works, and stands below as a
constant with its measurement. The sentences that come with every plan say what was taken for granted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ropewalk.artifact import Artifact, open_artifact
from ropewalk.corpus.costs import COSTS, PHASES
from ropewalk.corpus.hold_out import CANDIDATES_PER_PLACE, LEAST_CANDIDATES, MOST_RUNS
from ropewalk.corpus.lines import LINE_BYTES
from ropewalk.corpus.order import FAN_OUT, RUN_ROWS
from ropewalk.corpus.passages import WORD_BYTES
from ropewalk.corpus.spill import FILE_RECORDS
from ropewalk.corpus.write import FILE_TEXT_BYTES, LEDGER_ROWS
from ropewalk.runtime.errors import ArtifactError

# Measured on two shared cores in November 2026: 2.4 to 2.7 s, of which spaCy is one.
MOST_START_UP_SECONDS = 3.0
# Sorting deals all rows out once more for each factor FAN_OUT: about half of the 3.7 us that a row takes (a million rows).
DEAL_SECONDS_PER_ROW = 2e-6
# Memory, as `decide` and its parts say of themselves. Measured up to 150,000 made-up records: a row being sorted takes 1,100
# bytes, documents 5 times their columns while they are dealt out (of which 100 MB are at work at a time), and 2.8 times
# while a file is put together; what sorting took is not given back until then.
RECORD_BYTES, DOCUMENT_BYTES, CANDIDATE_BYTES, CANDIDATE_RUN_BYTES = 30, 60, 350, 20
SORTED_ROW_BYTES, SPILL_RECORD_BYTES, LEDGER_ROW_BYTES = 1_100, 100, 600
DEALT_COPIES, DEALT_BYTES, FILE_COPIES = 5, 100_000_000, 2.8
EXACT_SPILL_BYTES, BAND_SPILL_BYTES = 48, 16  # on disk: of a document compared; of each of its bands
MANY_RECORDS = 10_000


@dataclass(frozen=True)
class Sample:
    """What a finished corpus took and holds.

    spread: the standard error of what its pages took, as a fraction. columns_bytes: all columns of the documents, unpacked.
    """

    records: int
    candidates: int
    documents: int
    text_bytes: int
    columns_bytes: int
    documents_stored_bytes: int
    ledger_stored_bytes: int
    page_seconds: float
    spread: float
    workers: int
    cores: int
    phases: Mapping[str, Mapping[str, float]]
    options: Mapping[str, Any]

    @property
    def start_up_seconds(self) -> float:
        """Processor seconds that one worker took before its first page."""
        beyond = self.phases["judging"]["children_cpu_seconds"] - self.page_seconds
        return min(MOST_START_UP_SECONDS, max(0.0, beyond) / self.workers)

    @property
    def worker_seconds(self) -> float:
        """Processor seconds of all workers after their start."""
        beyond = self.phases["judging"]["children_cpu_seconds"] - self.start_up_seconds * self.workers
        return max(self.page_seconds, beyond)

    def held_bytes(self) -> float:
        """Memory of the driver beyond what it holds for the smallest corpus, by what its parts say of themselves."""
        file_share = min(1.0, FILE_TEXT_BYTES / max(1, self.text_bytes))
        aside = max(LEAST_CANDIDATES, CANDIDATES_PER_PLACE * self.options["held_out_fraction"] * self.documents)
        aside = min(aside, self.documents)
        runs = min(MOST_RUNS, aside * self.text_bytes / max(1, self.documents) / WORD_BYTES)
        deciding = max(
            SORTED_ROW_BYTES * min(self.records, RUN_ROWS),
            SPILL_RECORD_BYTES * min(self.candidates, FILE_RECORDS),
            CANDIDATE_BYTES * aside + CANDIDATE_RUN_BYTES * runs,
        )
        writing = max(
            DEALT_COPIES * min(self.columns_bytes, DEALT_BYTES),
            FILE_COPIES * self.columns_bytes * file_share,
            LEDGER_ROW_BYTES * min(self.records, LEDGER_ROWS),
        )
        return RECORD_BYTES * self.records + DOCUMENT_BYTES * self.documents + deciding + writing

    def disk_bytes(self) -> float:
        """The most that stands on disk at one time."""
        judged = self.phases["judging"]["scratch_bytes"]
        decided = self.phases["deciding"]["scratch_bytes"]
        near = BAND_SPILL_BYTES * self.options["minhash_bands"] if self.options["near_duplicates"] else 0
        spilled = self.candidates * max(EXACT_SPILL_BYTES, near)
        lines = 16 * self.text_bytes / LINE_BYTES if self.options["max_line_documents"] else 0
        passages = 32 * self.text_bytes / WORD_BYTES if self.options["passage_words"] else 0
        rows_twice = decided - judged if self.records > RUN_ROWS else 0
        file_share = min(1.0, FILE_TEXT_BYTES / max(1, self.text_bytes))
        return decided + max(
            rows_twice,
            spilled,
            lines,
            passages,
            self.columns_bytes + self.documents_stored_bytes * file_share,
            self.documents_stored_bytes + self.ledger_stored_bytes,
        )


@dataclass(frozen=True)
class Plan:
    """What so many pages will take. Processor seconds and wall seconds by phase."""

    pages: int
    cores: int
    cpu_seconds: dict[str, float]
    uncertain_fraction: float
    wall_seconds: dict[str, float]
    disk_peak_bytes: float
    result_bytes: float
    driver_peak_bytes: float
    worker_peak_bytes: float
    documents: float
    cost: float | None
    assumptions: tuple[str, ...]

    @property
    def core_hours(self) -> float:
        return sum(self.cpu_seconds.values()) / 3600


def read_sample(path: Path) -> Sample:
    """Read what a corpus took.

    Raises:
        ArtifactError: it is no finished corpus, or does not say.
    """
    corpus = open_artifact(path, "corpus")
    if f"logs/{COSTS}" not in corpus.manifest["logs"]:
        raise ArtifactError(f"{path} does not say what it took, it was made by an older ropewalk: make it anew with --force")
    costs = json.loads((corpus.path / "logs" / COSTS).read_text(encoding="utf-8"))
    if costs["carried_on"]:
        raise ArtifactError(f"{path} was interrupted, so what it took is known in part only: make it anew with --force")
    pages = costs["pages"].values()
    records, seconds = sum(one["records"] for one in pages), sum(one["cpu_seconds"] for one in pages)
    squares = sum(one["cpu_seconds_squared"] for one in pages)
    stored, unpacked = _stored_bytes(corpus)
    return Sample(
        records=records,
        candidates=costs["pages"].get("kept", {"records": 0})["records"],
        documents=corpus.facts["documents"],
        text_bytes=corpus.facts["bytes_utf8"],
        columns_bytes=unpacked,
        documents_stored_bytes=stored["documents"],
        ledger_stored_bytes=stored["ledger"],
        page_seconds=seconds,
        spread=math.sqrt(max(0.0, squares - seconds**2 / records)) / seconds if seconds else 0.0,
        workers=costs["workers"],
        cores=corpus.manifest["made_by"]["cores"],
        phases=costs["phases"],
        options=corpus.options,
    )


def _stored_bytes(corpus: Artifact) -> tuple[dict[str, int], int]:
    """Bytes of the documents' files and of the ledger's; and those of the documents' columns, unpacked."""
    stored, unpacked = {"documents": 0, "ledger": 0}, 0
    for path in corpus.files(".parquet"):
        name = path.name.partition("-")[0]
        stored[name] += path.stat().st_size
        if name == "documents":
            metadata = pq.read_metadata(path)
            unpacked += sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    return stored, unpacked


def plan(sample: Sample, pages: int, *, smaller: Sample | None = None, cores: int, price: float | None = None) -> Plan:
    """What `pages` pages will take on `cores` cores."""
    times = pages / sample.records
    grown = _grown(sample, times)
    workers = sample.worker_seconds * times
    start_up = sample.start_up_seconds * cores
    driver = {name: _driver_seconds(name, sample, smaller, pages) for name in PHASES}
    driver["deciding"] += _deal_seconds(pages) - _deal_seconds(sample.records)
    cpu = {"judging": driver["judging"] + workers + start_up, "deciding": driver["deciding"], "writing": driver["writing"]}
    wall = {
        "judging": _judging_wall(driver["judging"], workers + start_up, workers=cores, cores=cores),
        "deciding": driver["deciding"],
        "writing": driver["writing"],
    }
    waits = {name: _wait(sample, name) for name in PHASES}
    judging = sample.phases["judging"]
    core_hours = sum(cpu.values()) / 3600
    return Plan(
        pages=pages,
        cores=cores,
        cpu_seconds=cpu,
        uncertain_fraction=1.96 * sample.spread * workers / sum(cpu.values()),
        wall_seconds={name: seconds * waits[name] for name, seconds in wall.items()},
        disk_peak_bytes=grown.disk_bytes(),
        result_bytes=grown.documents_stored_bytes + grown.ledger_stored_bytes,
        driver_peak_bytes=sample.phases["writing"]["peak_bytes"] + grown.held_bytes() - sample.held_bytes(),
        worker_peak_bytes=judging["child_peak_bytes"],
        documents=grown.documents,
        cost=None if price is None else core_hours * price,
        assumptions=_assumptions(sample, smaller, waits),
    )


def _grown(sample: Sample, times: float) -> Sample:
    """The sample with all that grows with the pages."""
    counts = ("records", "candidates", "documents", "text_bytes", "columns_bytes", "documents_stored_bytes")
    grown = {name: round(getattr(sample, name) * times) for name in (*counts, "ledger_stored_bytes")}
    phases = {name: {**phase, "scratch_bytes": phase["scratch_bytes"] * times} for name, phase in sample.phases.items()}
    return Sample(**{**vars(sample), **grown, "phases": phases})


def _driver_seconds(phase: str, sample: Sample, smaller: Sample | None, pages: int) -> float:
    """Processor seconds of the one process that reads, decides and writes."""
    seconds = sample.phases[phase]["cpu_seconds"]
    if smaller is None:
        return seconds * pages / sample.records
    each = max(0.0, seconds - smaller.phases[phase]["cpu_seconds"]) / (sample.records - smaller.records)
    return seconds + each * (pages - sample.records)


def _deal_seconds(records: int) -> float:
    """What sorting takes to deal rows out to files, again and again."""
    rounds = math.ceil(math.log(max(1, records / RUN_ROWS), FAN_OUT))
    return DEAL_SECONDS_PER_ROW * records * rounds


def _judging_wall(driver: float, team: float, *, workers: int, cores: int) -> float:
    """One process reads for all workers: it or they are the slower; and all together have the cores."""
    return max(driver, team / workers, (driver + team) / cores)


def _wait(sample: Sample, phase: str) -> float:
    """How many times as long as its processor time explains the phase took in the sample."""
    taken = sample.phases[phase]
    explained = taken["cpu_seconds"]
    if phase == "judging":
        team = taken["children_cpu_seconds"]
        explained = _judging_wall(explained, team, workers=sample.workers, cores=sample.cores)
    return taken["wall_seconds"] / explained if explained else 1.0


def _assumptions(sample: Sample, smaller: Sample | None, waits: Mapping[str, float]) -> tuple[str, ...]:
    """What the plan takes for granted, with the figures it took from the sample."""
    each = 1000 * sample.worker_seconds / sample.records
    share = sample.documents / sample.records
    text_bytes = sample.text_bytes / max(1, sample.documents)
    duplicates = 1 - sample.documents / max(1, sample.candidates)
    said = [
        f"pages are as the {sample.records:,} of the sample: {each:.1f} ms of a core each to judge, {share:.0%} kept, "
        f"{text_bytes:,.0f} bytes of text each; the interval is what chance does to such a sample (95%), not what another "
        "crawl would",
        f"cores are as fast as the sample's; each has a worker, which takes {sample.start_up_seconds:.1f} s to start",
        f"as large a share as in the sample goes as duplicates ({duplicates:.0%}): among more pages there are more, so disk "
        "and result are upper bounds",
        "one process reads for all workers, and decides and writes alone: more cores do not make it faster",
        f"sorting deals all rows out to {FAN_OUT} files, and again where one has over {RUN_ROWS:,} of them",
        f"disk: judged pages, and rows without texts, as in the sample; {EXACT_SPILL_BYTES} bytes for each page compared, "
        f"then {BAND_SPILL_BYTES} a band; the documents' text a second time while they are written",
        f"memory: the sample's, {RECORD_BYTES} bytes a page, {DOCUMENT_BYTES} a document, and the largest piece that is "
        "worked on at one time, which stops growing (docs/corpus.md); a worker may come to remember 50 MB more of words",
        "each phase waits as long as in the sample for what is no processor (its wall time / what its processor time "
        "explains): " + ", ".join(f"{name} {factor:.2f}" for name, factor in waits.items()),
    ]
    if smaller is None and sample.records < MANY_RECORDS:
        said.append(
            f"with under {MANY_RECORDS:,} pages, what only starting takes counts for each: reading, deciding and writing "
            "come out too long; take a larger sample, or a second one with --smaller"
        )
    return tuple(said)
