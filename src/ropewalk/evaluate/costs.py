"""What a line of artifacts took: seconds on which machine, tokens a second, and money where an hour's price is known."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from ropewalk.artifact import Artifact
from ropewalk.artifact.manifest import LOGS
from ropewalk.runtime.metrics import read_metrics


def costs(lineage: Sequence[Artifact], price_per_hour: float | None) -> dict[str, Any]:
    """A row for each artifact, and their sum. price_per_hour: of the machine that they were made on."""
    rows = [_row(artifact, price_per_hour) for artifact in lineage]
    seconds = sum(row["seconds"] for row in rows)
    return {
        "price_per_hour": price_per_hour,
        "artifacts": rows,
        "seconds": round(seconds, 2),
        "cost": _cost(seconds, price_per_hour),
    }


def _row(artifact: Artifact, price_per_hour: float | None) -> dict[str, Any]:
    made_by = artifact.manifest["made_by"]
    speeds = [
        row["train/tokens_per_second"] for row in read_metrics(artifact.path / LOGS) if "train/tokens_per_second" in row
    ]
    return {
        "artifact": artifact.path.name,
        "kind": artifact.kind,
        "digest": artifact.digest,
        "seconds": made_by["seconds"],
        "machine": made_by.get("device") or f"{made_by['cores']} cores",
        "tokens_per_second": round(median(speeds), 1) if speeds else None,
        "cost": _cost(made_by["seconds"], price_per_hour),
    }


def _cost(seconds: float, price_per_hour: float | None) -> float | None:
    return None if price_per_hour is None else round(seconds / 3600 * price_per_hour, 4)
