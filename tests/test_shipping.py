"""The sdist builds the wheel, and the wheel runs far from the checkout, with all that is no Python file."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RENDERS = """
import ropewalk
from ropewalk.evaluate.page import environment
environment().get_template("sweep.html.jinja")
print(ropewalk.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel that is built from the sdist, not from this folder: what is missing there is missing here."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(out.glob("ropewalk-*.tar.gz"))) == 1
    return next(out.glob("ropewalk-*.whl"))


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory) -> Path:
    """What pip would lay into site-packages."""
    folder = tmp_path_factory.mktemp("site-packages")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def test_every_file_of_the_package_is_in_the_wheel(unpacked):
    committed = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    expected = {str(Path(line).relative_to("src")) for line in committed.splitlines() if (ROOT / line).is_file()}
    assert expected
    shipped = {str(path.relative_to(unpacked)) for path in (unpacked / "ropewalk").rglob("*") if path.is_file()}
    assert shipped == expected


def test_it_runs_outside_the_checkout(unpacked, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert Path(python("-c", RENDERS).strip()).is_relative_to(unpacked)
    assert python("-m", "ropewalk", "--version").startswith("ropewalk ")
    page = tmp_path / "pages"
    page.mkdir()
    (page / "a.html").write_text("<title>One</title><p>" + "The rope is made of hemp, and it is long. " * 40)
    python("-m", "ropewalk", "corpus", "--pages", "pages", "--rules", "none", "--workers", "1", "--out", "corpus")
    assert "corpus, whole" in python("-m", "ropewalk", "verify", "corpus")


def test_the_metadata_names_licence_and_extras(unpacked):
    metadata = next(unpacked.glob("ropewalk-*.dist-info")) / "METADATA"
    text = metadata.read_text(encoding="utf-8")
    assert "License-Expression: Apache-2.0" in text
    assert "Provides-Extra: docs" in text
    assert (metadata.parent / "licenses" / "LICENSE").is_file()
