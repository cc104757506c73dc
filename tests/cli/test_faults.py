"""Full disks, closed folders and wrong flags: one sentence, an exit code, and what was done is kept."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.cli.command import refusal, ropewalk

from ropewalk.cli.faults import NOTHING_LOST, STOPPED, explained, machine_sentence


def test_a_file_size_limit_is_one_sentence_and_the_same_command_carries_on(pages, made, tmp_path):
    arguments = (
        "tokenize",
        "--corpus",
        made / "runs" / "corpus",
        "--tokenizer",
        made / "runs" / "tokenizer",
        "--out",
        tmp_path / "t",
    )
    said = refusal(ropewalk(*arguments, file_limit_bytes=3_000))
    assert said.startswith("the disk is full, or a quota or size limit is reached") and said.endswith("then carries on")
    assert not (tmp_path / "t").exists() and (tmp_path / "t.part").exists()
    again = ropewalk(*arguments)
    assert again.returncode == 0, again.stderr
    assert "carrying on" in again.stderr


@pytest.fixture
def mount(tmp_path):
    """Mount a small disk in memory: `mount("size=64k")`; skips where that is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def call(*arguments: str | Path) -> bool:
        return bool(shutil.which("mount")) and subprocess.run(arguments, check=False, capture_output=True).returncode == 0

    def mount(options: str) -> Path:
        if not call("mount", "-t", "tmpfs", "-o", options, "tmpfs", folder):
            pytest.skip("mounting takes root on Linux, outside most containers")
        return folder

    yield mount
    call("umount", folder)


def test_a_full_disk_is_one_sentence_and_the_same_command_carries_on(pages, mount):
    disk = mount("size=64k")
    arguments = ("corpus", "--pages", pages, "--out", disk / "corpus", "--workers", "1")
    assert "the disk is full" in refusal(ropewalk(*arguments))
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    again = ropewalk(*arguments)
    assert again.returncode == 0, again.stderr


def test_a_disk_that_is_read_only_is_one_sentence(pages, mount):
    disk = mount("ro")
    said = refusal(ropewalk("corpus", "--pages", pages, "--out", disk / "corpus"))
    assert said.startswith(f"no permission for {disk / 'corpus.lock'} (Read-only file system): ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_write_permission_is_one_sentence(pages, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    said = refusal(ropewalk("corpus", "--pages", pages, "--out", closed / "corpus"))
    assert said == f"cannot write in {closed}: choose another folder, or get write permission"


def test_wrong_flags_exit_with_2(made, tmp_path):
    assert ropewalk("tokenizer", "--corpus", "x", "--out", "y", "--vocabluary", "300").returncode == 2
    process = ropewalk("tokenizer", "--corpus", made / "runs" / "corpus", "--out", tmp_path / "t", "--vocabulary", "5")
    assert process.returncode == 2
    assert refusal(process) == "ropewalk tokenizer: option 'vocabulary' is 5: input should be greater than or equal to 262"


def test_a_wrong_or_missing_input_is_one_sentence(made, tmp_path):
    wrong = ropewalk("tokenizer", "--corpus", made / "runs" / "tokens", "--out", tmp_path / "t")
    assert "tokens holds tokens, but corpus is needed here" in refusal(wrong)
    missing = ropewalk("corpus", "--pages", tmp_path / "nothing", "--out", tmp_path / "c")
    assert refusal(missing) == f"{tmp_path / 'nothing'} does not exist: check the path, or make it first"
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_the_output_is_one_sentence(pages, tmp_path):
    (tmp_path / "afile").write_text("mine")
    for out in ("afile/c", "afile/deep/c"):
        said = refusal(ropewalk("corpus", "--pages", pages, "--out", out, cwd=tmp_path))
        assert said == "afile is a file, so nothing can be made inside it: choose another folder"


@pytest.mark.parametrize(("resumable", "said"), [(True, f"{STOPPED}{NOTHING_LOST}"), (False, STOPPED)])
def test_only_what_carries_on_says_so_when_it_is_stopped(capsys, resumable, said):
    with explained(resumable=resumable) as outcome:
        raise KeyboardInterrupt
    assert outcome.code == 130
    assert capsys.readouterr().err == f"\n{said}\n"


def test_library_errors_that_wrap_a_full_disk_are_recognised():
    wrapped = RuntimeError("writer failed")
    wrapped.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/data/model.bin")
    assert "while writing /data/model.bin" in str(machine_sentence(wrapped))
    assert "disk is full" in str(machine_sentence(RuntimeError("I/O error: No space left on device (os error 28)")))
    assert machine_sentence(RuntimeError("shapes do not match")) is None
    assert machine_sentence(OSError(errno.ENOENT, "No such file", "x")) is None
    assert "ulimit -n" in str(machine_sentence(OSError(errno.EMFILE, "Too many open files")))
