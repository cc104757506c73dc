"""`ropewalk lineage --page`: who read a page."""

from __future__ import annotations

import json
import shutil

import pytest
from tests.cli.command import refusal, ropewalk

from ropewalk.artifact.manifest import encode
from ropewalk.pretrain import PretrainOptions, pages_read, run


@pytest.fixture(scope="module")
def line(tmp_path_factory, made):
    """The finished run with a model, and a model that was trained from it."""
    folder = tmp_path_factory.mktemp("readers") / "runs"
    shutil.copytree(made / "runs", folder)
    options = PretrainOptions(
        tokens=folder / "tokens", tokenizer=folder / "tokenizer", depth=1, context_tokens=32, batch_rows=2, compile="off",
        train_tokens=6_000, evaluate_documents=1,
    )  # fmt: skip
    run(options, out=folder / "model")
    return folder


def told(*arguments):
    """{name of the artifact: what is said of it}, and the exit code."""
    process = ropewalk("lineage", *arguments)
    rows = [line.split(maxsplit=2) for line in process.stdout.splitlines()[1:]]
    return {path.rsplit("/", 1)[-1]: what for path, _, what in rows}, process.returncode


def test_the_readers_of_a_page_and_the_first_step(line):
    early, later = list(dict.fromkeys(url for _, url in pages_read(line / "model", None)))[::9][:2]
    for url in (early, later):
        found, code = told("--page", url, line)
        assert code == 0
        assert set(found) == {"corpus", "tokenizer", "tokens", "model"}
        assert found["corpus"] == "kept"
        assert found["tokens"].endswith(" tokens, to train on")
        step = int(found["model"].split()[4])
        assert found["model"] == f"first read in step {step} of 94"
        assert url in {url for _, url in pages_read(line / "model", step)}
        assert url not in {url for _, url in pages_read(line / "model", step - 1)}
    assert told("--page", early, line / "model")[0] == told("--page", early, line)[0]


def test_a_page_held_out_was_read_by_no_model(line):
    documents = {url for _, url in pages_read(line / "model", None)}
    held_out = [url for url in (f"file:page{number}.txt" for number in range(40)) if url not in documents]
    found, _ = told("--page", held_out[0], line)
    assert (found["tokens"].split(", ")[1], found["model"]) == ("held out", "in its tokens, but not read in 94 steps")


def test_a_page_that_nobody_read(line):
    process = ropewalk("lineage", "--page", "file:page99.txt", line)
    assert (process.returncode, process.stdout) == (1, "none of 4 artifacts read file:page99.txt\n")
    assert "no artifact at or below" in refusal(ropewalk("lineage", "--page", "file:page1.txt", line.parent / "none"))
    assert "either --page or --pages" in refusal(ropewalk("lineage", "--page", "x", "--pages", line / "model"))
    assert "at least one artifact" in refusal(ropewalk("lineage"))


def test_a_damaged_artifact_is_named_and_the_others_searched(line, tmp_path):
    shutil.copytree(line, tmp_path / "runs")
    (tmp_path / "runs" / "tokenizer" / "tokenizer.json").write_text("cut")
    process = ropewalk("lineage", "--page", "file:page1.txt", tmp_path / "runs")
    assert "not followed: " in process.stdout and "tokenizer.json has 3 bytes instead of" in process.stdout
    assert "first read in step" in process.stdout


def test_a_model_from_before_mixtures_is_replayed(line, tmp_path):
    shutil.copytree(line, tmp_path / "runs")
    path = tmp_path / "runs" / "model" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["options"]["conversation_fraction"]
    path.write_text(encode(manifest))
    assert list(pages_read(path.parent, 5)) == list(pages_read(line / "model", 5)) != []
