"""What lies in the folder of a run: its evaluation, and what else was measured of the same model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ropewalk.artifact import Artifact, is_artifact, open_artifact
from ropewalk.artifact.manifest import MANIFEST, load_manifest
from ropewalk.evaluate import ReportOptions
from ropewalk.runtime.errors import InputError


def run_folder(path: Path) -> Path:
    """The folder of a run, given itself or by an artifact in it.

    Raises:
        InputError: there is none.
    """
    path = path.resolve()
    if not path.is_dir():
        raise InputError(f"{path} is no folder of a run: check the path, or make the run first")
    return path.parent if is_artifact(path) else path


def with_runs_read(options: ReportOptions) -> ReportOptions:
    """The options with a run's evaluation in place of its folder, and what else was measured of the evaluated model.

    An evaluation given by its own path stays, and nothing is added to it: a recipe says all that it wants shown.

    Raises:
        InputError: a run without an evaluation, or with more of a kind than one.
    """
    if _is_run(options.evaluation):
        evaluation = _evaluation(options.evaluation)
        options = replace(
            options,
            evaluation=evaluation.path,
            benchmarks=(*options.benchmarks, *_measured(evaluation, "benchmark")),
            conduct=options.conduct or _only(evaluation, "conduct", "model"),
            sweep=options.sweep or _only(evaluation, "sweep", "tokens"),
        )
    if options.other is not None and _is_run(options.other):
        other = _evaluation(options.other)
        options = replace(options, other=other.path, benchmarks=(*options.benchmarks, *_measured(other, "benchmark")))
    return replace(options, benchmarks=tuple(dict.fromkeys(options.benchmarks)))


def _is_run(path: Path) -> bool:
    return path.is_dir() and not is_artifact(path)


def _evaluation(run: Path) -> Artifact:
    """The one evaluation in a run's folder."""
    found = list(_of_kind(run, "evaluation"))
    if not found:
        raise InputError(f"the run {run} holds no evaluation: make one with 'ropewalk eval', or give a run that has one")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"the run {run} holds {len(found)} evaluations ({names}): give the path of one, as {found[0]}")
    return open_artifact(found[0])


def _measured(evaluation: Artifact, kind: str, read: str = "model") -> list[Path]:
    """What was measured beside an evaluation that `read` the same: its model, or its tokens."""
    digest = evaluation.inputs[read]["digest"]
    beside = map(open_artifact, _of_kind(evaluation.path.parent, kind))
    return [one.path for one in beside if one.inputs[read]["digest"] == digest]


def _only(evaluation: Artifact, kind: str, read: str) -> Path | None:
    found = _measured(evaluation, kind, read)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{evaluation.path.parent} holds {len(found)} of {kind} ({names}): say which with --{kind}")
    return found[0] if found else None


def _of_kind(run: Path, kind: str) -> Iterator[Path]:
    """The finished artifacts of a kind that lie in a folder, by name. What else lies there may be damaged or gone."""
    for folder in sorted(run.iterdir()):
        finished = folder.suffix not in (".part", ".replaced") and is_artifact(folder)
        if finished and load_manifest(folder / MANIFEST)["kind"] == kind:
            yield folder
