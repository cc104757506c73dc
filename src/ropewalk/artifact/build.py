"""Build an artifact once: skip what stands, refuse what differs, carry on what was interrupted."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropewalk import __version__
from ropewalk.artifact.manifest import (
    FORMAT,
    LOGS,
    MANIFEST,
    Artifact,
    describe,
    digest_of,
    encode,
    list_files,
    open_artifact,
    recipe_of,
    source_digest,
)
from ropewalk.runtime.errors import ArtifactError, MachineError
from ropewalk.runtime.progress import clock, say

RECIPE_FILE = "recipe.json"
LOCK_FILE = "lock"
SCRATCH = "scratch"


@dataclass(frozen=True)
class Part:
    """An artifact under construction.

    folder: `NAME.part`; what stands here when the stage returns becomes the artifact's files.
    scratch: checkpoints, caches, finished shards: kept across interruptions, deleted when the artifact is done.
    logs: metrics and event files: kept with the artifact, outside its digest.
    """

    folder: Path

    @property
    def scratch(self) -> Path:
        return _made(self.folder / SCRATCH)

    @property
    def logs(self) -> Path:
        return _made(self.folder / LOGS)


def build(
    out: Path,
    *,
    kind: str,
    stage_version: int,
    options: Mapping[str, Any],
    inputs: Mapping[str, Path],
    libraries: tuple[str, ...],
    make: Callable[[Part], Mapping[str, Any]],
    force: bool = False,
) -> Artifact:
    """Make the artifact `out`, or return it if the same recipe already made it.

    `make(part)` writes files below `part.folder` and returns the facts. It is called again after an interruption and
    must carry on from what it finds in `part.folder` and `part.scratch`, ending with the bytes of an undisturbed run.

    Args:
        options: JSON values of the options that decide content.
        inputs: paths by name; artifacts, or a user's own folder or file.
        libraries: distributions whose version decides content.
        force: rebuild what stands or lies half-made.

    Raises:
        ArtifactError: something else already stands at `out`, or another run is building it.
    """
    out = out.absolute()
    recipe = _recipe(out, kind, stage_version, options, inputs, libraries)
    standing = None if force else _standing(out, recipe)
    if standing:
        say(f"{_shown(out)}: {kind}, already made ({clock(standing.manifest['made_by']['seconds'])} then)")
        return standing
    part = Part(out.with_name(out.name + ".part"))
    with _lock(part.folder):
        seconds_before = _prepare(part.folder, recipe, force=force)
        if not (part.folder / MANIFEST).is_file():
            say(f"{_shown(out)}: {kind}, {'carrying on' if seconds_before else 'making'}")
            started = time.monotonic()
            try:
                facts = make(part)
            except BaseException:
                _write_recipe(part.folder, recipe, seconds_before + time.monotonic() - started)
                raise
            _seal(part.folder, recipe, facts, seconds_before + time.monotonic() - started)
        artifact = _put_in_place(out, part.folder)
    say(f"{_shown(out)}: {kind}, done in {clock(artifact.manifest['made_by']['seconds'])}")
    return artifact


def _recipe(
    out: Path,
    kind: str,
    stage_version: int,
    options: Mapping[str, Any],
    inputs: Mapping[str, Path],
    libraries: tuple[str, ...],
) -> dict[str, Any]:
    from importlib.metadata import version

    described = {}
    for name, path in inputs.items():
        input_kind, digest = source_digest(path)
        described[name] = {"path": os.path.relpath(path.absolute(), out), "kind": input_kind, "digest": digest}
    recipe = {
        "format": FORMAT,
        "kind": kind,
        "stage_version": stage_version,
        "options": dict(options),
        "libraries": {name: version(name) for name in libraries},
        "inputs": described,
    }
    return {**recipe, "recipe": recipe_of(recipe)}


def _standing(out: Path, recipe: Mapping[str, Any]) -> Artifact | None:
    if not out.exists():
        return None
    artifact = open_artifact(out, recipe["kind"])
    if artifact.recipe != recipe["recipe"]:
        raise ArtifactError(
            f"{_shown(out)} was made by another recipe ({difference(artifact.manifest, recipe)}): "
            "choose another name, or rebuild it with --force"
        )
    return artifact


def difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
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
    return "; ".join(found) or "the manifest's own fields"


def _prepare(folder: Path, recipe: Mapping[str, Any], *, force: bool) -> float:
    """Make or adopt the `.part` folder. Returns the seconds already spent in it, 0 for a fresh one."""
    note = folder / RECIPE_FILE
    if note.is_file() and not force:
        then = json.loads(note.read_text())
        if then["recipe"] != recipe["recipe"]:
            raise ArtifactError(
                f"{_shown(folder)} was left by another recipe ({difference(then, recipe)}): "
                "finish that one, delete the folder, or start over with --force"
            )
        return float(then["seconds"]) or sys.float_info.min
    for path in folder.iterdir():
        if path.name != LOCK_FILE:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    _write_recipe(folder, recipe, 0.0)
    return 0.0


def _write_recipe(folder: Path, recipe: Mapping[str, Any], seconds: float) -> None:
    write_atomically(folder / RECIPE_FILE, json.dumps({**recipe, "seconds": seconds}, indent=2))


def _seal(folder: Path, recipe: Mapping[str, Any], facts: Mapping[str, Any], seconds: float) -> None:
    """Describe what `make` left and write the manifest: from here on the artifact is whole."""
    own = {RECIPE_FILE, LOCK_FILE}
    names = [name for name in list_files(folder) if name not in own and not name.startswith(SCRATCH + "/")]
    files = describe(folder, [name for name in names if not name.startswith(LOGS + "/")])
    logs = describe(folder, [name for name in names if name.startswith(LOGS + "/")])
    manifest = {
        **{key: recipe[key] for key in ("format", "kind", "recipe")},
        "digest": digest_of(files),
        **{key: recipe[key] for key in ("stage_version", "options", "libraries", "inputs")},
        "facts": dict(facts),
        "files": files,
        "logs": logs,
        "made_by": _made_by(seconds),
    }
    write_atomically(folder / MANIFEST, encode(manifest))


def _put_in_place(out: Path, folder: Path) -> Artifact:
    """Rename a sealed part to `out`, over whatever stood there."""
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)
    (folder / LOCK_FILE).unlink(missing_ok=True)
    (folder / RECIPE_FILE).unlink(missing_ok=True)
    old = out.with_name(out.name + ".old")
    if out.exists():
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
    folder.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    return open_artifact(out)


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text` so that a reader, or a crash, sees the old or the new and nothing between."""
    draft = path.with_name(path.name + ".draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _lock(folder: Path):  # noqa: ANN202 (filelock's class, imported late)
    from filelock import FileLock, Timeout

    try:
        return FileLock(_made(folder) / LOCK_FILE).acquire(timeout=0)
    except Timeout:
        raise ArtifactError(f"another ropewalk is building {_shown(folder)}: wait for it, or stop it") from None
    except PermissionError:
        raise MachineError(f"cannot write in {folder.parent}: choose another folder, or get write permission") from None


def _made_by(seconds: float) -> dict[str, Any]:
    return {
        "ropewalk": __version__,
        "git": _git_commit(),
        "argv": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "seconds": round(seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _git_commit() -> str | None:
    """The commit of the ropewalk source in use, with '+' if it was edited; None when installed from a wheel."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"], cwd=here, capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _shown(path: Path) -> str:
    """A path as the user would type it from here."""
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(path)
