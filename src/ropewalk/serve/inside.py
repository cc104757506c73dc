"""What can be told of a model from the artifacts behind it: its lineage, its corpus' funnel, its training, its report.

Artifacts say themselves what they were made from, so a served model leads to all of them but two: a run that goes on has no
model yet, and a report is made of a model. Those are looked for in the folders that the server was told of.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ropewalk.artifact import Artifact, is_artifact, open_artifact
from ropewalk.artifact.manifest import LOGS
from ropewalk.corpus.reading import read_samples
from ropewalk.evaluate.lineage import ancestors, nearest
from ropewalk.runtime.metrics import METRICS, read_metrics
from ropewalk.serve.faults import Refusal
from ropewalk.serve.models import ServedModel

PART = ".part"
MOST_ROWS = 2_000  # of a curve in one response
REPORT = "index.html"


def lineage_of(model: ServedModel) -> dict[str, Any]:
    """The artifacts behind a model, itself first, each with its inputs by the digests of what they are or lie in.

    missing: a sentence for each that is gone, or has been rebuilt since.
    """
    found, missing = _family(model)
    shown = [
        {
            "digest": artifact.digest,
            "name": shown_name(artifact.path),
            "kind": artifact.kind,
            "finished": artifact.manifest["made_by"]["finished"],
            "seconds": artifact.manifest["made_by"]["seconds"],
            "facts": {name: value for name, value in artifact.facts.items() if _is_number(value)},
            "inputs": [_input(artifact, name, found) for name in artifact.inputs],
        }
        for artifact in found
    ]
    return {"object": "lineage", "model": model.id, "artifacts": shown, "missing": missing}


def funnel_of(model: ServedModel) -> dict[str, Any]:
    """What became of the pages on their way into the corpus that a model read: counts by stage and rule, and samples."""
    found: dict[str, Any] = {"object": "funnel", "model": model.id}
    corpus = nearest(_family(model)[0], "corpus")
    if corpus is None:
        return found | {"available": False, "reason": f"there is no corpus behind {model.id}, or it is gone"}
    facts = corpus.facts
    return found | {
        "available": True,
        "reason": None,
        "corpus": shown_name(corpus.path),
        "digest": corpus.digest,
        "stages": facts.get("funnel", []),
        "dropped": facts.get("dropped", {}),
        "reasons": facts.get("reasons", {}),
        "samples": read_samples(corpus.path),
    }


def trained(models: Sequence[ServedModel], folders: Sequence[Path]) -> dict[str, Path]:
    """Folders with a training's metrics, by name: behind the models, then in `folders`, finished or in the making."""
    behind = [path for model in models for path in _models_behind(model.folder, model.digest)]
    found = {path.resolve(): path for path in (*behind, *_children(folders)) if (path / LOGS / METRICS).is_file()}
    return {shown_name(path): path for path in found.values()}


def described_run(name: str, path: Path) -> dict[str, Any]:
    """A training as a list shows it. changed_seconds: since its last row, so that one that goes on can be told.

    Raises:
        Refusal: it was finished, and so renamed, just now.
    """
    try:
        changed = (path / LOGS / METRICS).stat().st_mtime
    except FileNotFoundError:
        raise Refusal(404, f"{name} was finished just now: ask for the list again.", param="name") from None
    making = path.name.endswith(PART)
    return {"id": name, "state": "making" if making else "made", "changed_seconds": round(time.time() - changed, 1)}


def rows_of(name: str, path: Path, after: int) -> dict[str, Any]:
    """A training's metrics behind row number `after`; at most 2,000, so ask again with what `next` says until it stays.

    A row that is being written is left for the next time. A training that was resumed at an earlier step has fewer rows than
    before: then `next` is less than `after`.
    """
    rows = read_metrics(path / LOGS)
    after = min(max(after, 0), len(rows))
    shown = rows[after : after + MOST_ROWS]
    return {"object": "run", **described_run(name, path), "rows": shown, "next": after + len(shown)}


def reports(folders: Sequence[Path]) -> list[Artifact]:
    """The reports in these folders."""
    found = [open_artifact(path) for path in _children(folders) if is_artifact(path)]
    return [artifact for artifact in found if artifact.kind == "report"]


def shown_name(path: Path) -> str:
    """An artifact's name for people: its folder and the one above, as a model's. Where that lies is nobody's business."""
    whole = path.resolve()
    return f"{whole.parent.name}/{whole.name}"


def _family(model: ServedModel) -> tuple[list[Artifact], list[str]]:
    """A model's artifact and all behind it; nothing for one made elsewhere."""
    if not is_artifact(model.folder):
        return [], []
    artifact = open_artifact(model.folder, "model")
    found, missing = ancestors(artifact)
    return [artifact, *found], missing


@lru_cache
def _models_behind(folder: Path, digest: str) -> tuple[Path, ...]:
    """A model's folder and those of the models behind it; looked up once a digest, for pages ask every two seconds."""
    if not is_artifact(folder):
        return ()
    artifact = open_artifact(folder, "model")
    return tuple(one.path for one in (artifact, *ancestors(artifact)[0]) if one.kind == "model")


def _input(artifact: Artifact, name: str, found: Sequence[Artifact]) -> dict[str, Any]:
    """An input by its name: what it is, and the artifact that it is or lies in, if that is among those found."""
    entry, path = artifact.inputs[name], artifact.input_path(name)
    source = next((other for other in found if path.is_relative_to(other.path.resolve())), None)
    within = source is not None and path != source.path.resolve()
    return {
        "name": name,
        "kind": entry["kind"],
        "digest": source.digest if source else None,
        "shown": path.name if within or source is None else "",
    }


def _children(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        if folder.is_dir():
            yield from (path for path in sorted(folder.iterdir()) if path.is_dir())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
