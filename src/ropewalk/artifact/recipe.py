"""How an artifact is to be made, as its manifest will say it, and what differs between two such descriptions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ropewalk.artifact.inputs import is_remote
from ropewalk.artifact.manifest import FORMAT, recipe_of, source_digest
from ropewalk.runtime.errors import MachineError


def describe_recipe(
    out: Path,
    kind: str,
    stage_version: int,
    options: Mapping[str, Any],
    inputs: Mapping[str, Path | str],
    libraries: tuple[str, ...],
) -> dict[str, Any]:
    """The manifest's fields that are known before any work, `recipe` among them."""
    described = {}
    for name, path in inputs.items():
        input_kind, digest = source_digest(path)
        shown = str(path) if is_remote(path) else os.path.relpath(Path(path).resolve(), out)
        described[name] = {"path": shown, "kind": input_kind, "digest": digest}
    recipe = {
        "format": FORMAT,
        "kind": kind,
        "stage_version": stage_version,
        "options": dict(options),
        "libraries": {name: _version(name) for name in libraries},
        "inputs": described,
    }
    return {**recipe, "recipe": recipe_of(recipe)}


def _version(library: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(library)
    except PackageNotFoundError:
        raise MachineError(f"the library {library} is not installed: pip install {library}") from None


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name what differs between two recipes, in the words of the options: 'min_chars: 200 then, 10 now'."""
    found = []
    if then["kind"] != now["kind"]:
        found.append(f"kind: {then['kind']} then, {now['kind']} now")
    if then["stage_version"] != now["stage_version"]:
        found.append(f"stage version: {then['stage_version']} then, {now['stage_version']} now")
    for group, label in (("options", ""), ("libraries", "library ")):
        for key in sorted({*then[group], *now[group]}):
            old, new = then[group].get(key), now[group].get(key)
            if old != new:
                found.append(f"{label}{key}: {json.dumps(old)} then, {json.dumps(new)} now")
    for name in sorted({*then["inputs"], *now["inputs"]}):
        old, new = then["inputs"].get(name, {}).get("digest"), now["inputs"].get(name, {}).get("digest")
        if old != new:
            found.append(f"input {name}: digest {str(old)[:12]} then, {str(new)[:12]} now")
    return found
