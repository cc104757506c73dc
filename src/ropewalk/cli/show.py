"""`ropewalk show` and `ropewalk verify`: what an artifact is, and whether it still is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import FlagCreatePairsOff, Positional

from ropewalk.artifact import Artifact, open_artifact, verify
from ropewalk.runtime.errors import OptionError
from ropewalk.runtime.progress import clock, size
from ropewalk.runtime.terminal import one_line


@dataclass(frozen=True)
class ShowOptions:
    """What an artifact is and how it was made."""

    path: Positional[Path]
    """The artifact's folder."""
    json: FlagCreatePairsOff[bool] = False
    """Print the manifest as it is, for programs."""


@dataclass(frozen=True)
class VerifyOptions:
    """Hash every byte of artifacts against their manifests."""

    paths: Positional[tuple[Path, ...]]
    """The artifacts' folders."""


def run_show(options: ShowOptions) -> None:
    """Print an artifact's manifest for people, or as JSON."""
    artifact = open_artifact(options.path)
    if options.json:
        print(json.dumps(artifact.manifest, indent=2))
        return
    made_by = artifact.manifest["made_by"]
    print(f"{options.path}: {artifact.kind}, {artifact.digest[:12]}")
    sections = {
        "facts": artifact.facts,
        "options": artifact.options,
        "libraries": artifact.manifest["libraries"],
        "inputs": {
            name: f"{entry['path']} ({entry['kind']}, {entry['digest'][:12]})" for name, entry in artifact.inputs.items()
        },
        "files": _sizes(artifact.manifest["files"]),
        "logs": _sizes(artifact.manifest["logs"]),
        "made by": {**made_by, "argv": " ".join(made_by["argv"]), "seconds": clock(made_by["seconds"])},
    }
    for title, values in sections.items():
        if values:
            print(f"\n{title}")
            for line in _aligned(dict(_flat(values))):
                print(one_line(line))


def run_verify(options: VerifyOptions) -> int:
    """Print each damage, or that there is none. Returns 1 if there is any."""
    if not options.paths:
        raise OptionError("ropewalk verify: give the path of at least one artifact")
    code = 0
    for path in options.paths:
        damages = verify(path)
        for damage in damages:
            print(f"{path}: {one_line(f'{damage.file} {damage.what}')}")
        if damages:
            code = 1
        else:
            artifact = open_artifact(path)
            print(f"{path}: {artifact.kind}, whole, {size(stored_bytes(artifact))} hashed")
    return code


def stored_bytes(artifact: Artifact) -> int:
    """The size of an artifact's files and logs."""
    return sum(entry["bytes"] for part in ("files", "logs") for entry in artifact.manifest[part].values())


def _sizes(files: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {name: f"{size(entry['bytes'])}  {entry['sha256'][:12]}" for name, entry in files.items()}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, int) and not isinstance(value, bool):
            yield prefix + key, f"{value:,}"
        else:
            yield prefix + key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _aligned(values: Mapping[str, str]) -> list[str]:
    width = max(map(len, values), default=0)
    return [f"  {key:<{width}}  {value}" for key, value in values.items()]
