"""What making a corpus takes, phase by phase: `ropewalk plan` reads it. It lies among the logs, outside the digest.

logs/costs.json:

{"workers": 2,
 "carried_on": false                     whether the stage was interrupted: then the phases tell of its last run alone
 "pages": {"kept": {"records": 2073, "cpu_seconds": 9.6, "cpu_seconds_squared": ..., "payload_bytes": ...,
                    "text_bytes": ...}, ...}    sums, by the stage at which judging left them; seconds of the workers
 "phases": {"judging": {"wall_seconds", "cpu_seconds", "children_cpu_seconds", "peak_bytes", "child_peak_bytes",
                        "scratch_bytes"}, "deciding": {...}, "writing": {...}}}
                                         peaks: the most until the phase ended; scratch_bytes: what stood there at its end
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from ropewalk.artifact import Part
from ropewalk.runtime.usage import usage

COSTS = "costs.json"
PHASES = ("judging", "deciding", "writing")
_SUMMED = ("cpu_seconds", "cpu_seconds_squared", "payload_bytes", "text_bytes")


class Costs:
    """Notes what the phases of a build take."""

    def __init__(self, part: Part, *, workers: int) -> None:
        self._part = part
        carried_on = any(part.scratch.glob("batch-*.parquet"))
        self._noted: dict[str, Any] = {"workers": workers, "carried_on": carried_on, "phases": {}}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note what the block takes."""
        before = usage()
        yield
        after = usage()
        self._noted["phases"][name] = {
            "wall_seconds": round(after.wall_seconds - before.wall_seconds, 3),
            "cpu_seconds": round(after.cpu_seconds - before.cpu_seconds, 3),
            "children_cpu_seconds": round(after.children_cpu_seconds - before.children_cpu_seconds, 3),
            "peak_bytes": after.peak_bytes,
            "child_peak_bytes": after.child_peak_bytes,
            "scratch_bytes": sum(path.stat().st_size for path in self._part.scratch.rglob("*") if path.is_file()),
        }

    def note_pages(self, batches: list[Path]) -> None:
        """Add up what the pages took. Memory: a batch of rows without texts at a time."""
        stages: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for path in batches:
            rows = pl.read_parquet(path, columns=["stage", "cpu_seconds", "payload_bytes", "text_bytes"])
            rows = rows.with_columns(cpu_seconds_squared=pl.col("cpu_seconds") ** 2)
            for stage, count, *sums in rows.group_by("stage").agg(pl.len(), *map(pl.sum, _SUMMED)).iter_rows():
                stages[stage].update({"records": count, **dict(zip(_SUMMED, sums, strict=True))})
        self._noted["pages"] = {stage: dict(sums) for stage, sums in sorted(stages.items())}

    def write(self) -> None:
        """Write logs/costs.json."""
        (self._part.logs / COSTS).write_text(json.dumps(self._noted, indent=2) + "\n", encoding="utf-8")
