"""Build an artifact once: skip what stands, refuse what differs, carry on what was interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ropewalk import __version__
from ropewalk.artifact.manifest import (
    LOGS,
    MANIFEST,
    Artifact,
    describe,
    digest_of,
    encode,
    is_artifact,
    list_files,
    load_manifest,
    open_artifact,
)
from ropewalk.artifact.recipe import describe_recipe, differences
from ropewalk.runtime.errors import ArtifactError, MachineError
from ropewalk.runtime.machine import cores
from ropewalk.runtime.progress import clock, say

RECIPE_FILE = "recipe.json"
SCRATCH = "scratch"
DRAFT = ".draft"

State = Literal["standing", "carry on", "to make"]


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
    inputs: Mapping[str, Path | str],
    libraries: tuple[str, ...],
    make: Callable[[Part], Mapping[str, Any]],
    force: bool = False,
) -> Artifact:
    """Make the artifact `out`, or return it if the same recipe already made it.

    `make(part)` writes files below `part.folder` and returns the facts. It is called again after an interruption and
    must carry on from what it finds in `part.folder` and `part.scratch`, ending with the bytes of an undisturbed run.

    Args:
        options: JSON values of the options that decide content.
        inputs: paths by name; artifacts, a user's own folder or file, or an address (see `inputs.py`).
        libraries: distributions whose version decides content.
        force: rebuild what stands, and drop a half-made one, unless an earlier `force` began that: then carry on, so
            that the same command carries on here too. A folder that is no artifact is never replaced.

    Raises:
        ArtifactError: something else already stands at `out`, or another run is building it.
    """
    out = out.resolve()
    recipe = describe_recipe(out, kind, stage_version, options, inputs, libraries)
    if not force and (standing := _standing(out, recipe)):
        return standing
    _refuse_foreign(out)
    with _lock(out):
        if not force and (standing := _standing(out, recipe)):  # made while this process came for the lock
            return standing
        part = Part(out.with_name(out.name + ".part"))
        seconds_before = _adopt(part.folder, recipe, force=force)
        if not (part.folder / MANIFEST).is_file():
            say(f"{_shown(out)}: {kind}, {'making' if seconds_before is None else 'carrying on'}")
            _make(part, recipe, make, seconds_before or 0.0, force=force)
        artifact = _put_in_place(out, part.folder)
    say(f"{_shown(out)}: {kind}, done in {clock(artifact.manifest['made_by']['seconds'])}")
    return artifact


def look(
    out: Path,
    *,
    kind: str,
    stage_version: int,
    options: Mapping[str, Any],
    inputs: Mapping[str, Path | str],
    libraries: tuple[str, ...],
    pending: frozenset[str] = frozenset(),
) -> State:
    """What `build` would find at `out`, without making anything.

    Args:
        pending: names of inputs that are still to be made; they are left out of the comparison.

    Raises:
        ArtifactError: `build` would refuse.
    """
    out = out.resolve()
    recipe = describe_recipe(out, kind, stage_version, options, inputs, libraries)
    part = out.with_name(out.name + ".part")
    _refuse_foreign(out)
    standing = _standing_manifest(out, kind)
    then = standing or _note(part)
    if then is None:
        return "to make"
    known = {**then, "inputs": {name: entry for name, entry in then["inputs"].items() if name not in pending}}
    if found := differences(known, recipe):
        raise _refusal(out if standing else part, found, finished=bool(standing))
    return "standing" if standing else "carry on"


def _make(
    part: Part, recipe: Mapping[str, Any], make: Callable[[Part], Mapping[str, Any]], seconds_before: float, *, force: bool
) -> None:
    started = time.monotonic()
    try:
        facts = make(part)
    except BaseException:
        # On a full disk the note cannot grow either; the error that matters is the one under way.
        with contextlib.suppress(OSError):
            _write_recipe(part.folder, recipe, seconds_before + time.monotonic() - started, force=force)
        raise
    _seal(part.folder, recipe, facts, seconds_before + time.monotonic() - started)


def _standing_manifest(out: Path, kind: str) -> Mapping[str, Any] | None:
    return open_artifact(out, kind).manifest if (out / MANIFEST).is_file() else None


def _standing(out: Path, recipe: Mapping[str, Any]) -> Artifact | None:
    """The artifact at `out` if this recipe made it."""
    _refuse_foreign(out)
    if not (out / MANIFEST).is_file():
        return None
    artifact = open_artifact(out, recipe["kind"])
    if artifact.recipe != recipe["recipe"]:
        raise _refusal(out, differences(artifact.manifest, recipe), finished=True)
    say(f"{_shown(out)}: {artifact.kind}, already made ({clock(artifact.manifest['made_by']['seconds'])} then)")
    return artifact


def _refusal(folder: Path, found: list[str], *, finished: bool) -> ArtifactError:
    if finished:
        said, advice = "was made by", "choose another name, or rebuild it with --force"
    else:
        said, advice = "was left by", "finish that one, delete the folder, or start over with --force"
    return ArtifactError(f"{_shown(folder)} {said} another recipe ({'; '.join(found)}): {advice}")


def _refuse_foreign(folder: Path) -> None:
    """Refuse to build over anything but an artifact or an empty folder: `--out ~ --force` must not cost a home."""
    if file := next((parent for parent in folder.parents if parent.is_file()), None):
        raise ArtifactError(f"{_shown(file)} is a file, so nothing can be made inside it: choose another folder")
    if not folder.exists() or is_artifact(folder):
        return
    if not folder.is_dir():
        raise ArtifactError(f"{_shown(folder)} is a file: choose another name")
    if any(folder.iterdir()):
        raise ArtifactError(f"{_shown(folder)} holds files that are no artifact: choose another name, or move them away")


def _adopt(folder: Path, recipe: Mapping[str, Any], *, force: bool) -> float | None:
    """Make or adopt the `.part` folder. Returns the seconds already spent in it, None for a fresh one."""
    # A kill in mid-write leaves drafts: they must not end among the artifact's files.
    for name in (RECIPE_FILE, MANIFEST):
        (folder / (name + DRAFT)).unlink(missing_ok=True)
    then = _note(folder)
    if then and force and not (then["recipe"] == recipe["recipe"] and then.get("forced")):
        _remove(folder)
        then = None
    if then is None:
        folder.mkdir(parents=True, exist_ok=True)
        if _holds_files(folder):
            raise ArtifactError(
                f"{_shown(folder)} holds files that no stage left there: move them away, or delete the folder"
            )
        _write_recipe(folder, recipe, 0.0, force=force)
        return None
    if then["recipe"] != recipe["recipe"]:
        raise _refusal(folder, differences(then, recipe), finished=False)
    return float(then["seconds"])


def _note(folder: Path) -> dict[str, Any] | None:
    """What a `.part` says of itself: the manifest once it is sealed, its recipe before.

    None if there is neither, or a recipe alone: what was refused before it made anything stands in nobody's way.
    """
    if (folder / MANIFEST).is_file():
        manifest = load_manifest(folder / MANIFEST)
        return {**manifest, "seconds": manifest["made_by"]["seconds"], "forced": True}
    if not _holds_files(folder):
        return None
    try:
        note = json.loads((folder / RECIPE_FILE).read_bytes())
        return {**note, "seconds": float(note["seconds"]), "recipe": str(note["recipe"])}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise ArtifactError(f"{_shown(folder / RECIPE_FILE)} is damaged: delete {_shown(folder)} and start over") from None


def _holds_files(folder: Path) -> bool:
    """Whether there is anything in a `.part` but its recipe."""
    return any(not path.is_dir() and path != folder / RECIPE_FILE for path in folder.rglob("*"))


def _remove(folder: Path) -> None:
    """Delete a folder in two moves, so that a kill in between leaves no half of it under its own name."""
    doomed = folder.with_name(folder.name + ".replaced")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def _write_recipe(folder: Path, recipe: Mapping[str, Any], seconds: float, *, force: bool) -> None:
    write_atomically(folder / RECIPE_FILE, json.dumps({**recipe, "seconds": seconds, "forced": force}, indent=2))


def _seal(folder: Path, recipe: Mapping[str, Any], facts: Mapping[str, Any], seconds: float) -> None:
    """Describe what `make` left and write the manifest: from here on the artifact is whole."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()  # a manifest lists files; `verify` reports any other folder as a stranger
    names = [name for name in list_files(folder) if name != RECIPE_FILE and not name.startswith(SCRATCH + "/")]
    files = describe(folder, [name for name in names if not name.startswith(LOGS + "/")])
    logs = describe(folder, [name for name in names if name.startswith(LOGS + "/")])
    manifest = {
        **{key: recipe[key] for key in ("format", "kind", "recipe")},
        "digest": digest_of(files),
        **{key: recipe[key] for key in ("stage_version", "options", "libraries", "inputs")},
        "facts": json.loads(json.dumps(facts)),  # keys as text, or the seal would not survive reading back
        "files": files,
        "logs": logs,
        "made_by": _made_by(seconds),
    }
    write_atomically(folder / MANIFEST, encode(manifest))


def _put_in_place(out: Path, folder: Path) -> Artifact:
    """Rename a sealed part to `out`, over whatever stood there. Killed anywhere in here, the next run finishes it."""
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)
    (folder / RECIPE_FILE).unlink(missing_ok=True)
    replaced = folder.with_name(folder.name + ".replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if out.exists():
        out.rename(replaced)
    folder.rename(out)
    shutil.rmtree(replaced, ignore_errors=True)
    return open_artifact(out)


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text` so that a reader, or a crash, sees the old or the new and nothing between."""
    draft = path.with_name(path.name + DRAFT)
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


@contextlib.contextmanager
def _lock(out: Path) -> Iterator[None]:
    """Hold `NAME.lock` beside the artifact. Not inside `.part`: that folder is renamed while the lock is held."""
    from filelock import FileLock, Timeout

    path = out.with_name(out.name + ".lock")
    try:
        _made(path.parent)
        lock = FileLock(path)
        lock.acquire(timeout=0)
    except Timeout:
        raise ArtifactError(f"another ropewalk is building {_shown(out)}: wait for it, or stop it") from None
    except PermissionError:
        raise MachineError(f"cannot write in {out.parent}: choose another folder, or get write permission") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # filelock notices a file unlinked under a waiter, and that waiter tries anew
        lock.release()


def _made_by(seconds: float) -> dict[str, Any]:
    return {
        "ropewalk": __version__,
        "git": _git_commit(),
        "argv": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": cores(),
        "seconds": round(seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _git_commit() -> str | None:
    """The commit of the ropewalk source in use, with '+' if it was edited; None when installed from a wheel."""
    repository = Path(__file__).parents[3]
    if not (repository / ".git").exists():
        return None  # a virtual environment may lie inside somebody else's repository
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            cwd=repository,
            check=False,
            capture_output=True,
            text=True,
            timeout=5,
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
