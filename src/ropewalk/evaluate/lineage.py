"""The artifacts behind an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ropewalk.artifact import REMOTE, Artifact, is_artifact, open_artifact, open_input, source_digest
from ropewalk.runtime.errors import ArtifactError, RopewalkError


def model_chain(model: Artifact) -> list[Artifact]:
    """A model and those it was trained from, the first of all last.

    Raises:
        ArtifactError: one of them is gone, or has been rebuilt since.
    """
    chain = [model]
    while name := next((name for name in ("model", "init") if name in chain[-1].inputs), None):
        chain.append(open_input(chain[-1], name))
    return chain


def read_by(chain: Sequence[Artifact]) -> set[str]:
    """The digests of all tokens that a model's chain was trained on."""
    entries = (model.inputs.get(name) for model in chain for name in ("tokens", "replay", "conversations"))
    return {entry["digest"] for entry in entries if entry}


def ancestors(artifact: Artifact) -> tuple[list[Artifact], list[str]]:
    """Every artifact behind this one, nearest first, and a line for each that is gone or has changed.

    A file that lies in an artifact, such as the questions of a site, leads to that artifact.
    """
    found: dict[Path, Artifact] = {}
    missing: list[str] = []
    queue = [artifact]
    while queue:
        child = queue.pop(0)
        for name in child.inputs:
            try:
                parent = _parent(child, name)
            except RopewalkError as error:
                missing.append(str(error))
                continue
            if parent is not None and parent.path.resolve() not in found:
                found[parent.path.resolve()] = parent
                queue.append(parent)
    return list(found.values()), list(dict.fromkeys(missing))


def _parent(child: Artifact, name: str) -> Artifact | None:
    """The artifact that an input is, or lies in; None for a user's own file or folder, or an address."""
    entry, path = child.inputs[name], child.input_path(name)
    if entry["kind"] == REMOTE:
        return None
    if entry["kind"] not in {"file", "folder"}:
        return open_input(child, name)
    home = next((folder for folder in path.parents if is_artifact(folder)), None)
    if home is None:
        return None
    if source_digest(path)[1] != entry["digest"]:
        raise ArtifactError(f"{path} is not what {child.path} was made from, it has been rebuilt since")
    return open_artifact(home)


def nearest(lineage: Sequence[Artifact], kind: str) -> Artifact | None:
    """The first artifact of a kind."""
    return next((artifact for artifact in lineage if artifact.kind == kind), None)
