"""Numbers along the way: metrics.jsonl for programs, TensorBoard events for people. Both lie beside an artifact's files.

What else the environment asks for gets them too: see `trackers`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ropewalk.runtime.trackers import trackers

METRICS = "metrics.jsonl"


class Metrics:
    """Append-only metrics of a run that may be killed and resumed: each step is there once."""

    def __init__(self, folder: Path, *, resumed_at_step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self.path = folder / METRICS
        kept = [row for row in read_metrics(folder) if row["step"] < resumed_at_step]
        draft = self.path.with_suffix(".draft")
        draft.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        draft.replace(self.path)  # a kill or a full disk in mid-write must not cost the curve
        self.file = self.path.open("a", encoding="utf-8", buffering=1)
        self.events = SummaryWriter(str(folder / "tensorboard"), purge_step=resumed_at_step)
        self.trackers = trackers(folder)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Record `values` of `step` under their names, such as `train/loss`."""
        self.file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self.events.add_scalar(name, value, step)
        for tracker in self.trackers:
            tracker.log(step, values)

    def __enter__(self) -> Metrics:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.events.close()
        for tracker in self.trackers:
            tracker.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The rows of a folder's metrics.jsonl; a last line cut off by a kill is left out."""
    path = folder / METRICS
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            rows.append(json.loads(line))
    return rows
