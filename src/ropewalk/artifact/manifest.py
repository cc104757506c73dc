"""Read, write and verify manifests.

{"format": 1, "kind": "corpus", "stage_version": 1,
 "recipe":    sha256 of {kind, stage_version, options, libraries, digests of the inputs}: how it was made
 "digest":    sha256 of {file name: sha256}: what it is; equal digest, equal bytes
 "options":   {...}                         the stage's typed options that decide content
 "libraries": {"numba": "0.68.1"}           versions of the libraries that decide content
 "inputs":    {"pages": {"path": "../pages", "kind": "pages", "digest": "..."}}
 "facts":     {"documents": 81231, ...}
 "files":     {"part-00000.parquet": {"bytes": 1048576, "sha256": "..."}}
 "logs":      {"logs/metrics.jsonl": {...}} verified like files, outside the digest: they hold times
 "made_by":   {"ropewalk", "git", "argv", "python", "platform", "seconds", ...}
 "seal":      sha256 of all the above, so that a byte flipped in the manifest itself is found too}
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ropewalk.artifact.inputs import is_remote, list_remote
from ropewalk.runtime.errors import ArtifactError, InputError
from ropewalk.runtime.progress import progress

FORMAT = 1
MANIFEST = "manifest.json"
LOGS = "logs"
REMOTE = "remote"  # the kind of an input behind an address
HASHED_AT_ONCE_BYTES = 1 << 20
BAR_FROM_BYTES = 500_000_000  # about a second of hashing
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Artifact:
    """A finished artifact: where it lies and what its manifest says."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return self.manifest["kind"]

    @property
    def digest(self) -> str:
        return self.manifest["digest"]

    @property
    def recipe(self) -> str:
        return self.manifest["recipe"]

    @property
    def options(self) -> Mapping[str, Any]:
        return self.manifest["options"]

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.manifest["facts"]

    @property
    def inputs(self) -> Mapping[str, Mapping[str, str]]:
        return self.manifest["inputs"]

    def input_path(self, name: str) -> Path:
        """Where the input called `name` lay when this artifact was made."""
        return Path(os.path.normpath(self.path.resolve() / self.inputs[name]["path"]))

    def files(self, suffix: str = "") -> list[Path]:
        """The artifact's files whose name ends in `suffix`, in name order."""
        return [self.path / name for name in sorted(self.manifest["files"]) if name.endswith(suffix)]


@dataclass(frozen=True)
class Damage:
    """One way in which an artifact differs from its manifest."""

    file: str
    what: str


def canonical(value: object) -> str:
    """JSON with one spelling for one value: what recipes, digests and seals are computed over."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def sha256_text(text: str) -> str:
    # A file name that is not UTF-8 reaches us with surrogates in it, and is hashed like any other.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_file(path: Path, advance: Callable[[int], None] | None = None) -> str:
    """Hash a file; `advance` is told of each piece's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(HASHED_AT_ONCE_BYTES):
            digest.update(piece)
            if advance is not None:
                advance(len(piece))
    return digest.hexdigest()


@contextmanager
def hashing(path: Path, total_bytes: int) -> Iterator[Callable[[Path], str]]:
    """Give the function that hashes the files at or below `path`: with a bar, if all of them may take over a second."""
    if total_bytes < BAR_FROM_BYTES:
        yield sha256_file
        return
    with progress(f"hashing {path.resolve().name}", total=total_bytes, unit="bytes") as bar:
        yield functools.partial(sha256_file, advance=bar.advance)


def digest_of(files: Mapping[str, Mapping[str, Any]]) -> str:
    """What an artifact is: one hash over its file names and their hashes."""
    return sha256_text(canonical({name: entry["sha256"] for name, entry in files.items()}))


def recipe_of(recipe: Mapping[str, Any]) -> str:
    """How an artifact was made: one hash, blind to paths, devices, workers and clocks."""
    keys = ("kind", "stage_version", "options", "libraries")
    made_from = {name: entry["digest"] for name, entry in recipe["inputs"].items()}
    return sha256_text(canonical({**{key: recipe[key] for key in keys}, "inputs": made_from}))


def encode(manifest: Mapping[str, Any]) -> str:
    """The manifest as it stands on disk, sealed."""
    unsealed = {key: value for key, value in manifest.items() if key != "seal"}
    text = json.dumps({**unsealed, "seal": sha256_text(canonical(unsealed))}, indent=2, ensure_ascii=False) + "\n"
    return LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def is_artifact(folder: Path) -> bool:
    """Whether a folder's manifest is one of ours, be it damaged. Web sites have a `manifest.json` too."""
    try:
        raw = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
    return sum(key in raw for key in (b'"stage_version"', b'"made_by"', b'"digest"', b'"seal"')) >= 2


def list_files(folder: Path, *, but: str = MANIFEST) -> Iterator[str]:
    """Names of all regular files below `folder` but the manifest, relative, with forward slashes, in order."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != but:
            yield name


def describe(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Sizes and hashes of files, synced to disk so that a manifest never vouches for bytes still in memory."""
    sizes = {name: (folder / name).stat().st_size for name in names}
    entries = {}
    with hashing(folder, sum(sizes.values())) as sha256:
        for name in names:
            with (folder / name).open("rb") as file:
                os.fsync(file.fileno())
            entries[name] = {"bytes": sizes[name], "sha256": sha256(folder / name)}
    return entries


def open_artifact(path: Path | str, kind: str | None = None) -> Artifact:
    """Open a finished artifact and check that it is whole.

    Every file's size is compared; a file touched after the manifest was written is hashed as well. `verify` hashes all.

    Raises:
        ArtifactError: nothing there, unfinished, damaged, or not of the `kind` asked for.
    """
    path = Path(path)
    manifest_path = path / MANIFEST
    if not is_artifact(path):
        part = path.with_name(path.name + ".part")
        if part.is_dir():
            raise ArtifactError(f"{path} is unfinished ({part.name} is there): run its stage again, it carries on")
        what = f"a finished {kind} artifact" if kind else "an artifact"
        raise ArtifactError(f"{path} is not {what}: there is no {MANIFEST} in it. Check the path, or make it first")
    artifact = Artifact(path, load_manifest(manifest_path))
    if kind is not None and artifact.kind != kind:
        raise ArtifactError(f"{path} holds {artifact.kind}, but {kind} is needed here: give the path of a {kind} artifact")
    sealed_at = manifest_path.stat().st_mtime_ns
    for name, entry in artifact.manifest["files"].items():
        damage = _check_file(path, name, entry, hash_if_newer_than=sealed_at)
        if damage:
            raise ArtifactError(
                f"{path / name} {damage.what}: restore it, or rebuild {path.name} with --force "
                f"('ropewalk verify {path}' lists all damage)"
            )
    return artifact


def open_input(child: Artifact, name: str) -> Artifact:
    """Open the input called `name` of `child`, and check that it still is what `child` was made from.

    Raises:
        ArtifactError: it is gone, damaged, or has been rebuilt since into something else.
    """
    entry, path = child.inputs[name], child.input_path(name)
    found = open_artifact(path, entry["kind"])
    if found.digest != entry["digest"]:
        raise ArtifactError(
            f"{path} is not what {child.path} was made from, it has been rebuilt since: "
            f"restore it, or rebuild {child.path.name} too"
        )
    return found


def verify(path: Path | str) -> list[Damage]:
    """Hash every byte of an artifact against its manifest; an empty list means it is what it was."""
    path = Path(path)
    manifest_path = path / MANIFEST
    if not manifest_path.is_file():
        raise ArtifactError(f"{path} is not an artifact: there is no {MANIFEST} in it. Check the path")
    try:
        manifest = load_manifest(manifest_path)
    except ArtifactError as error:
        return [Damage(MANIFEST, str(error).removeprefix(f"{manifest_path} "))]
    listed = {**manifest["files"], **manifest["logs"]}
    with hashing(path, sum(entry["bytes"] for entry in listed.values())) as sha256:
        checked = [_check_file(path, name, entry, hash_if_newer_than=-1, sha256=sha256) for name, entry in listed.items()]
    damages = [damage for damage in checked if damage]
    if digest_of(manifest["files"]) != manifest["digest"] or recipe_of(manifest) != manifest["recipe"]:
        damages.append(Damage(MANIFEST, "does not add up: its digest or recipe is not that of its own fields"))
    return damages + [Damage(name, "is not in the manifest") for name in _strangers(path, listed)]


def _strangers(folder: Path, listed: Mapping[str, object]) -> Iterator[str]:
    """What lies in an artifact without being listed: files, links and pipes, and folders that hold no listed file."""
    parents = {parent.as_posix() for name in listed for parent in PurePosixPath(name).parents}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        is_folder = path.is_dir() and not path.is_symlink()
        if name != MANIFEST and name not in listed and not (is_folder and name in parents):
            yield name


def source_digest(path: Path | str) -> tuple[str, str]:
    """Kind and digest of a stage's input: an artifact's own, or a hash over a user's folder or file.

    Of what lies elsewhere nothing is read: names, sizes and what the file system says of each version are hashed.

    Raises:
        InputError: there is nothing at `path`.
    """
    if is_remote(path):
        files = list_remote(str(path))
        return REMOTE, sha256_text(canonical({file.name: [file.size_bytes, file.version] for file in files}))
    path = Path(path)
    if is_artifact(path):
        artifact = open_artifact(path)
        return artifact.kind, artifact.digest
    if path.is_file():
        kind, folder, names = "file", path.parent, [path.name]
    elif path.is_dir():
        kind, folder, names = "folder", path, list(list_files(path, but=""))
    else:
        raise InputError(f"{path} does not exist: check the path, or make it first")
    with hashing(path, sum((folder / name).stat().st_size for name in names)) as sha256:
        return kind, sha256_text(canonical({name: sha256(folder / name) for name in names}))


def load_manifest(path: Path) -> dict[str, Any]:
    """Parse a manifest and check its seal, byte for byte."""
    raw = path.read_bytes()
    try:
        manifest = json.loads(raw)
        whole = encode(manifest).encode() == raw
    except (ValueError, KeyError, AttributeError, TypeError):
        whole = False
        manifest = {}
    if not whole:
        raise ArtifactError(f"{path} is damaged: restore it, or rebuild {path.parent.name} with --force")
    if manifest["format"] != FORMAT:
        raise ArtifactError(
            f"{path} has format {manifest['format']}, this ropewalk reads {FORMAT}: "
            "rebuild it, or use the ropewalk that made it"
        )
    return manifest


def _check_file(
    folder: Path,
    name: str,
    entry: Mapping[str, Any],
    *,
    hash_if_newer_than: int,
    sha256: Callable[[Path], str] = sha256_file,
) -> Damage | None:
    path = folder / name
    if not path.is_file():
        return Damage(name, "is missing")
    status = path.stat()
    if status.st_size != entry["bytes"]:
        return Damage(name, f"has {status.st_size} bytes instead of {entry['bytes']}")
    if status.st_mtime_ns > hash_if_newer_than and sha256(path) != entry["sha256"]:
        return Damage(name, "has changed since it was made")
    return None
