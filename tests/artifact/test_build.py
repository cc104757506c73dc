"""Skip, refuse, resume, force: `ropewalk.artifact.build` under kills, rivals, full disks and other people's files."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.artifact.stage import SHARDS, build_shards

from ropewalk.artifact import Part, build, open_artifact, verify
from ropewalk.runtime.errors import ArtifactError, InputError, MachineError

PROGRAM = Path(__file__).with_name("stage.py")


def start(out: Path, seed: int = 1, *more: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, str(PROGRAM), str(out), str(seed), *more], stderr=subprocess.PIPE, text=True)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def plain_build(out: Path, make, **changes):
    wanted = {"kind": "thing", "stage_version": 1, "options": {}, "inputs": {}, "libraries": ()}
    return build(out, **{**wanted, **changes}, make=make)


def write_one(part: Part) -> dict[str, object]:
    (part.folder / "one.txt").write_text("one")
    return {}


def test_undisturbed_build_leaves_one_whole_folder(tmp_path):
    artifact = build_shards(tmp_path / "a")
    assert leftovers(tmp_path) == ["a"]
    assert leftovers(tmp_path / "a") == ["logs", "manifest.json", *(f"shard-{n}.bin" for n in range(SHARDS))]
    assert verify(artifact.path) == []
    assert artifact.facts == {"shards": SHARDS, "by_length": {"16000": SHARDS}}


def test_what_was_refused_before_it_made_anything_is_in_nobodys_way(tmp_path):
    """The corrected command works; where something was made, another recipe is refused."""

    def refused(part: Part) -> dict[str, object]:
        raise InputError("there are too few")

    def broken_off(part: Part) -> dict[str, object]:
        write_one(part)
        raise InputError("the second cannot be read")

    with pytest.raises(InputError, match="too few"):
        plain_build(tmp_path / "a", refused, options={"count": 9})
    assert plain_build(tmp_path / "a", write_one, options={"count": 3}).manifest["options"] == {"count": 3}
    with pytest.raises(InputError, match="second"):
        plain_build(tmp_path / "b", broken_off, options={"count": 9})
    with pytest.raises(ArtifactError, match="count: 9 then, 3 now"):
        plain_build(tmp_path / "b", write_one, options={"count": 3})


def test_killed_at_random_it_ends_with_the_same_digest(tmp_path):
    wanted = build_shards(tmp_path / "undisturbed").digest
    dice = random.Random(7)
    kills = 0
    for _ in range(40):
        process = start(tmp_path / "killed")
        time.sleep(dice.uniform(0.05, 0.35))
        if process.poll() is None:
            process.kill()
        _, errors = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
        kills += 1
    assert kills >= 1
    artifact = build_shards(tmp_path / "killed")
    assert artifact.digest == wanted
    assert verify(artifact.path) == []
    (tmp_path / "killed.lock").unlink(missing_ok=True)
    assert leftovers(tmp_path) == ["killed", "undisturbed"]


@pytest.mark.parametrize("call", ["fsync", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"])
@pytest.mark.parametrize("standing", [False, True], ids=["fresh", "replacing"])
def test_killed_before_any_single_call_it_is_finished_by_the_next_run(tmp_path, call, standing):
    """Die before the first such call, then before the second, ... until one run comes through."""
    wanted = build_shards(tmp_path / "undisturbed").digest
    out = tmp_path / "a"
    for at in range(1, 100):
        if standing:
            build_shards(out, seed=2, force=True)
        code = build_and_die(out, call, at, force=standing)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        # The same command again: where another recipe's artifact stands, that is one with --force.
        artifact = build_shards(out, force=standing)
        assert artifact.digest == wanted
        assert verify(out) == []
        (tmp_path / "a.lock").unlink(missing_ok=True)
        assert leftovers(tmp_path) == ["a", "undisturbed"]
        if not standing:
            shutil.rmtree(out)
    assert at > 1, f"{call} was never reached"


def build_and_die(out: Path, call: str, at: int, *, force: bool) -> int:
    """Build in a forked process that is killed before its `at`-th `call`. Returns its exit code, 0 if it came through."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    left = at

    def count(event: str, arguments: object = None) -> None:
        nonlocal left
        if event == call:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    real_fsync = os.fsync
    os.fsync = lambda number: (count("fsync"), real_fsync(number))
    sys.addaudithook(count)
    code = 1
    try:
        build_shards(out, force=force)
        code = 0
    finally:
        os._exit(code)


def test_same_recipe_is_skipped_and_another_is_refused_naming_the_option(tmp_path):
    first = build_shards(tmp_path / "a")
    stamp = (tmp_path / "a" / "manifest.json").stat().st_mtime_ns
    assert build_shards(tmp_path / "a").digest == first.digest
    assert (tmp_path / "a" / "manifest.json").stat().st_mtime_ns == stamp
    with pytest.raises(ArtifactError, match=r"another recipe \(seed: 1 then, 2 now\).*--force"):
        build_shards(tmp_path / "a", seed=2)
    assert build_shards(tmp_path / "a", seed=2, force=True).digest != first.digest
    assert leftovers(tmp_path) == ["a"]


def test_part_of_another_recipe_is_refused_then_dropped_by_force(tmp_path):
    part = tmp_path / "a.part"
    with pytest.raises(KeyboardInterrupt):
        plain_build(tmp_path / "a", interrupted, options={"size": 1})
    assert (part / "half").exists()
    with pytest.raises(ArtifactError, match=r"a\.part was left by another recipe \(size: 1 then, 2 now\)"):
        plain_build(tmp_path / "a", write_one, options={"size": 2})
    artifact = plain_build(tmp_path / "a", write_one, options={"size": 2}, force=True)
    assert list(artifact.manifest["files"]) == ["one.txt"]
    assert leftovers(tmp_path) == ["a"]


def interrupted(part: Part) -> dict[str, object]:
    (part.folder / "half").write_text("half")
    raise KeyboardInterrupt


def test_an_interrupted_force_carries_on_when_it_is_given_again(tmp_path):
    found = []

    def make(part: Part) -> dict[str, object]:
        found.append((part.folder / "half").exists())
        return interrupted(part) if len(found) < 3 else write_one(part)

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            plain_build(tmp_path / "a", make, force=True)
    plain_build(tmp_path / "a", make, force=True)
    assert found == [False, True, True]


def test_drafts_left_by_a_kill_do_not_end_among_the_files(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        plain_build(tmp_path / "a", interrupted)
    (tmp_path / "a.part" / "recipe.json.draft").write_text("{")
    (tmp_path / "a.part" / "manifest.json.draft").write_text("{")
    artifact = plain_build(tmp_path / "a", write_one)
    assert sorted(artifact.manifest["files"]) == ["half", "one.txt"]


def test_unreadable_recipe_of_a_part_is_one_sentence(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        plain_build(tmp_path / "a", interrupted)
    (tmp_path / "a.part" / "recipe.json").write_bytes(b'{"recipe": \xff')
    with pytest.raises(ArtifactError, match=r"recipe\.json is damaged: delete .*a\.part and start over"):
        plain_build(tmp_path / "a", write_one)


@pytest.mark.parametrize("force", [False, True])
def test_folders_that_are_no_artifact_are_never_replaced(tmp_path, force):
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("three years")
    (home / "manifest.json").write_text('{"name": "a web site has one too", "icons": []}')
    with pytest.raises(ArtifactError, match="holds files that are no artifact: choose another name"):
        build_shards(home, force=force)
    (tmp_path / "b.part").mkdir()
    (tmp_path / "b.part" / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="holds files that no stage left there"):
        build_shards(tmp_path / "b", force=force)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ArtifactError, match="is a file: choose another name"):
        build_shards(tmp_path / "file", force=force)
    assert (home / "thesis.txt").read_text() == "three years"
    assert (tmp_path / "b.part" / "notes.txt").read_text() == "mine"


def test_a_neighbour_called_old_survives_a_rebuild(tmp_path):
    (tmp_path / "a.old").mkdir()
    (tmp_path / "a.old" / "kept.txt").write_text("kept")
    build_shards(tmp_path / "a")
    build_shards(tmp_path / "a", seed=2, force=True)
    assert (tmp_path / "a.old" / "kept.txt").read_text() == "kept"


def test_through_a_symlink_the_target_is_built_and_the_link_stays(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    for seed in (1, 2):
        build_shards(tmp_path / "link", seed=seed, force=True)
    assert (tmp_path / "link").is_symlink()
    assert open_artifact(tmp_path / "disk").options["seed"] == 2
    assert leftovers(tmp_path) == ["disk", "link"]


def test_input_is_found_again_from_behind_a_symlinked_folder(tmp_path):
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "runs").symlink_to(tmp_path / "far" / "away")
    pages = build_shards(tmp_path / "pages")
    build_shards(tmp_path / "runs" / "corpus", pages=pages.path)
    for path in (tmp_path / "runs" / "corpus", tmp_path / "far" / "away" / "corpus"):
        assert open_artifact(path).input_path("pages") == pages.path.resolve()


def test_two_processes_at_once_make_it_once_and_one_is_told_to_wait(tmp_path):
    first = start(tmp_path / "a")
    while not (tmp_path / "a.part").exists():
        time.sleep(0.002)
    second = start(tmp_path / "a")
    codes = []
    for process in (first, second):
        _, errors = process.communicate(timeout=60)
        codes.append((process.returncode, errors))
    assert codes[0][0] == 0, codes
    assert "another ropewalk is building" in codes[1][1] or "already made" in codes[1][1], codes
    assert verify(tmp_path / "a") == []
    assert leftovers(tmp_path) == ["a"]


def test_many_rivals_never_spoil_the_artifact(tmp_path):
    wanted = build_shards(tmp_path / "undisturbed").digest
    processes = [start(tmp_path / "a") for _ in range(6)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0 or "another ropewalk is building" in errors, errors
    assert build_shards(tmp_path / "a").digest == wanted
    assert verify(tmp_path / "a") == []


def test_empty_folders_do_not_reach_the_artifact(tmp_path):
    def make(part: Part) -> dict[str, object]:
        (part.folder / "empty" / "deeper").mkdir(parents=True)
        _ = part.logs
        return write_one(part)

    plain_build(tmp_path / "a", make)
    assert leftovers(tmp_path / "a") == ["manifest.json", "one.txt"]
    assert verify(tmp_path / "a") == []


def test_seconds_add_up_over_interruptions(tmp_path):
    def slow(part: Part) -> dict[str, object]:
        time.sleep(0.2)
        if not (part.folder / "half").exists():
            interrupted(part)
        return {}

    with pytest.raises(KeyboardInterrupt):
        plain_build(tmp_path / "a", slow)
    assert 0.4 <= plain_build(tmp_path / "a", slow).manifest["made_by"]["seconds"] < 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_one_sentence(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(MachineError, match=r"cannot write in .*closed: choose another folder"):
        build_shards(tmp_path / "closed" / "a")


def test_missing_library_is_named(tmp_path):
    with pytest.raises(MachineError, match="no-such-library is not installed: pip install"):
        plain_build(tmp_path / "a", write_one, libraries=("no-such-library",))


def test_names_that_are_not_utf8_go_through(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    try:
        (folder / os.fsdecode(b"caf\xe9.html")).write_text("x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    artifact = build_shards(tmp_path / os.fsdecode(b"a\xe9"), pages=folder)
    assert verify(artifact.path) == []
    assert json.loads((artifact.path / "manifest.json").read_text())["inputs"]["pages"]["kind"] == "folder"
