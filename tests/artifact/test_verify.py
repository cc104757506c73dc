"""`verify` finds whatever changed, `open_artifact` what it can see without hashing, and both say it in one sentence."""

import itertools
import json
import os
import random
import shutil
import subprocess

import pytest
from tests.artifact.stage import build_shards

from ropewalk.artifact import open_artifact, source_digest, verify
from ropewalk.artifact.manifest import encode
from ropewalk.runtime.errors import ArtifactError, InputError


@pytest.fixture
def artifact(tmp_path):
    source = tmp_path / "notes.txt"
    source.write_text("notes")
    return build_shards(tmp_path / "a", notes=source)


def test_one_flipped_byte_anywhere_is_found(artifact):
    """Every file: shards, log and manifest; in the manifest, every single byte. Times are put back after the flip."""
    dice = random.Random(3)
    for path in sorted(path for path in artifact.path.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        status = path.stat()
        positions = range(len(whole)) if path.name == "manifest.json" else dice.sample(range(len(whole)), 40)
        for position in positions:
            flipped = bytearray(whole)
            flipped[position] ^= 1 << dice.randrange(8)
            path.write_bytes(flipped)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            damages = verify(artifact.path)
            assert [damage.file for damage in damages] == [path.relative_to(artifact.path).as_posix()], position
        path.write_bytes(whole)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert verify(artifact.path) == []


def test_hashing_much_shows_how_far_it_is(artifact, monkeypatch, capsys):
    digest = source_digest(artifact.path / "shard-0.bin")
    clock = itertools.count(0, 20)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    assert verify(artifact.path) == [] and capsys.readouterr().err == ""
    monkeypatch.setattr("ropewalk.artifact.manifest.BAR_FROM_BYTES", 96_000)
    total = sum(entry["bytes"] for part in ("files", "logs") for entry in artifact.manifest[part].values())
    assert verify(artifact.path) == []
    assert f"hashing a: {total:,}/{total:,} bytes" in capsys.readouterr().err.splitlines()[-1]
    monkeypatch.setattr("ropewalk.artifact.manifest.BAR_FROM_BYTES", 16_000)
    assert source_digest(artifact.path / "shard-0.bin") == digest
    assert "hashing shard-0.bin: 16,000/16,000 bytes" in capsys.readouterr().err


def test_every_kind_of_stranger_is_named(artifact):
    (artifact.path / "new.txt").write_text("x")
    (artifact.path / "empty").mkdir()
    (artifact.path / "link").symlink_to("/etc")
    os.mkfifo(artifact.path / "pipe")
    found = {damage.file: damage.what for damage in verify(artifact.path)}
    assert found == dict.fromkeys(("new.txt", "empty", "link", "pipe"), "is not in the manifest")


def test_missing_and_cut_files_are_named_with_what_to_do(artifact):
    shard = artifact.path / "shard-2.bin"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"shard-2\.bin has 15999 bytes instead of 16000: restore it, or rebuild a"):
        open_artifact(artifact.path)
    shard.unlink()
    with pytest.raises(ArtifactError, match=r"shard-2\.bin is missing"):
        open_artifact(artifact.path)
    assert [(damage.file, damage.what) for damage in verify(artifact.path)] == [("shard-2.bin", "is missing")]


def test_opening_sees_a_file_of_the_same_size_that_was_written_later(artifact):
    shard = artifact.path / "shard-2.bin"
    shard.write_bytes(b"\0" * 16_000)
    os.utime(shard, ns=(0, (artifact.path / "manifest.json").stat().st_mtime_ns + 1))
    with pytest.raises(ArtifactError, match="has changed since it was made"):
        open_artifact(artifact.path)


def test_a_forged_manifest_with_a_fresh_seal_is_found(artifact):
    manifest = json.loads((artifact.path / "manifest.json").read_text())
    manifest["options"]["seed"] = 2
    (artifact.path / "manifest.json").write_text(encode(manifest))
    assert [damage.file for damage in verify(artifact.path)] == ["manifest.json"]


def test_a_copy_is_the_same_artifact(artifact, tmp_path):
    shutil.copytree(artifact.path, tmp_path / "copy")
    assert open_artifact(tmp_path / "copy").digest == artifact.digest
    assert verify(tmp_path / "copy") == []


def test_what_is_no_artifact_is_said_so(artifact, tmp_path):
    with pytest.raises(ArtifactError, match="holds shards, but corpus is needed here"):
        open_artifact(artifact.path, "corpus")
    with pytest.raises(ArtifactError, match="is not a finished corpus artifact"):
        open_artifact(tmp_path / "nothing", "corpus")
    (tmp_path / "b.part").mkdir()
    with pytest.raises(ArtifactError, match=r"unfinished \(b\.part is there\): run its stage again"):
        open_artifact(tmp_path / "b")
    with pytest.raises(InputError, match="does not exist"):
        source_digest(tmp_path / "nothing")


def test_a_future_format_is_refused(artifact):
    manifest = json.loads((artifact.path / "manifest.json").read_text())
    (artifact.path / "manifest.json").write_text(encode({**manifest, "format": 2}))
    with pytest.raises(ArtifactError, match="has format 2, this ropewalk reads 1"):
        open_artifact(artifact.path)


def test_a_users_folder_is_known_by_all_its_bytes_and_names(tmp_path):
    folder = tmp_path / "site"
    (folder / "deep").mkdir(parents=True)
    (folder / "manifest.json").write_text('{"name": "a web app", "icons": []}')
    (folder / "deep" / "page.html").write_text("<p>one")
    kind, first = source_digest(folder)
    assert kind == "folder"
    (folder / "manifest.json").write_text('{"name": "a web app", "icons": {}}')
    second = source_digest(folder)[1]
    (folder / "deep" / "page.html").rename(folder / "page.html")
    assert len({first, second, source_digest(folder)[1]}) == 3


def test_the_git_commit_is_that_of_ropewalk_or_none(artifact):
    commit = artifact.manifest["made_by"]["git"]
    here = subprocess.run(["git", "describe", "--always", "--abbrev=12"], capture_output=True, text=True, check=False)
    assert commit is None or commit.rstrip("+") == here.stdout.strip()
