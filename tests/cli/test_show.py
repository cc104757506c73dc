"""show, verify, lineage, init: what people and programs read."""

import json
import os
import shutil
import signal
import subprocess

import pytest
from tests.cli.command import command, refusal, ropewalk


@pytest.fixture
def run(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "runs"


def test_show_is_the_manifest_for_people_and_for_programs(run):
    shown = ropewalk("show", run / "tokenizer").stdout
    manifest = json.loads((run / "tokenizer" / "manifest.json").read_text())
    assert shown.splitlines()[0] == f"{run / 'tokenizer'}: tokenizer, {manifest['digest'][:12]}"
    assert "  vocabulary   300" in shown or ("vocabulary" in shown and "300" in shown)
    assert "../corpus (corpus, " in shown and "tokenizer.json" in shown
    assert json.loads(ropewalk("show", run / "tokenizer", "--json").stdout) == manifest
    assert "there is no manifest.json in it" in refusal(ropewalk("show", run))


def test_verify_counts_the_bytes_and_names_each_damage(run):
    whole = ropewalk("verify", run / "corpus", run / "tokens")
    assert whole.returncode == 0
    assert [line.split(":")[1].split(",")[:2] for line in whole.stdout.splitlines()] == [
        [" corpus", " whole"],
        [" tokens", " whole"],
    ]
    (run / "tokens" / "documents.npy").write_bytes(b"cut")
    (run / "tokens" / "new").write_text("x")
    hurt = ropewalk("verify", run / "corpus", run / "tokens")
    assert hurt.returncode == 1
    assert "documents.npy has 3 bytes instead of" in hurt.stdout and "new is not in the manifest" in hurt.stdout
    assert len(hurt.stdout.splitlines()) == 3


def test_verify_says_a_damaged_manifest_once_and_fails(run):
    path = run / "tokens" / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"format": 1', b'"format": 2', 1))
    hurt = ropewalk("verify", run / "tokens")
    assert hurt.returncode == 1
    assert hurt.stdout.count("manifest.json is damaged: restore it") == 1


def test_verify_names_a_damaged_manifest_once_from_wherever_it_is_called(run, tmp_path):
    (run / "tokens" / "manifest.json").write_text('{"seal": "", "digest": ""}')
    hurt = ropewalk("verify", "runs/tokens", cwd=tmp_path)
    assert hurt.stdout == "runs/tokens: manifest.json is damaged: restore it, or rebuild tokens with --force\n"


def test_verify_prints_no_escape_sequence_of_a_strangers_name(run):
    (run / "tokens" / "\x1b[2Jnew").write_text("x")
    assert ropewalk("verify", run / "tokens").stdout.endswith(": \ufffd[2Jnew is not in the manifest\n")


def test_lineage_goes_down_to_the_pages(run, pages):
    process = ropewalk("lineage", run / "tokens")
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert [len(line) - len(line.lstrip()) for line in lines] == [0, 4, 8, 12, 4]
    assert lines[1].lstrip().startswith("tokenizer: ") and str(pages) in lines[3] and "(as above)" in lines[4]


def test_lineage_says_what_is_gone_and_what_is_another_now(run, pages, tmp_path):
    shutil.rmtree(run / "tokenizer")
    gone = ropewalk("lineage", run / "tokens")
    assert gone.returncode == 1 and "is gone; tokenizer " in gone.stdout
    own_pages = tmp_path / "own"
    shutil.copytree(pages, own_pages)
    ropewalk("corpus", "--pages", own_pages, "--out", run / "own", "--no-near-duplicates")
    (own_pages / "page1.txt").write_text("changed")
    changed = ropewalk("lineage", run / "own")
    assert changed.returncode == 1 and "is another now, folder " in changed.stdout


def test_lineage_of_pages_needs_a_model(run):
    assert "--pages needs a model, but" in refusal(ropewalk("lineage", run / "tokens", "--pages"))
    assert "--step goes with --pages" in refusal(ropewalk("lineage", run / "tokens", "--step", "3"))


def test_a_closed_pipe_ends_quietly(run):
    shown = subprocess.Popen(command("show", run / "corpus"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    shown.stdout.close()
    assert shown.stderr.read() == b""
    assert shown.wait() == 141


def test_looking_is_stopped_without_a_word_on_carrying_on(tmp_path):
    """The manifest is a pipe, so that `show` is known to wait in it when it is stopped."""
    os.mkfifo(tmp_path / "manifest.json")
    process = subprocess.Popen(command("show", tmp_path), stderr=subprocess.PIPE, text=True)
    with (tmp_path / "manifest.json").open("wb"):
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "\nStopped.\n")


def test_init_writes_a_recipe_for_a_folder_that_runs_as_it_is(pages, tmp_path):
    process = ropewalk("init", pages, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "40 .txt" in process.stdout and "ropewalk run recipe.toml" in process.stdout
    planned = ropewalk("run", "recipe.toml", "--dry-run", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    stages = [line.split()[0] for line in planned.stdout.splitlines()[1:-3]]
    assert stages == ["corpus", "tokenizer", "tokens", "model", "evaluation", "report"]
    assert "is there already" in refusal(ropewalk("init", pages, cwd=tmp_path))


def test_init_for_an_address_crawls_it_politely(tmp_path):
    ropewalk("init", "https://example.org/docs/", "--out", "site.toml", cwd=tmp_path)
    text = (tmp_path / "site.toml").read_text()
    assert 'sites = ["https://example.org/docs/"]' in text and "delay_seconds = 1.0" in text
    assert ropewalk("run", "site.toml", "--dry-run", cwd=tmp_path).stdout.splitlines()[1].split()[:2] == ["pages", "crawl"]


@pytest.mark.parametrize("address", ["http://[x/", "http://h:99x/", "https://", "http://me:secret@example.org/"])
def test_init_refuses_an_address_that_the_crawl_would_refuse(tmp_path, address):
    assert "is no address to crawl: write it like" in refusal(ropewalk("init", address, cwd=tmp_path))
    assert not (tmp_path / "recipe.toml").exists()


def test_init_names_the_folder_that_is_missing_for_its_recipe(pages, tmp_path):
    said = refusal(ropewalk("init", pages, "--out", "nodir/r.toml", cwd=tmp_path))
    assert said == "ropewalk init: there is no folder nodir: make it, or give another --out"


def test_init_inside_the_pages_puts_the_artifacts_beside_them(pages, tmp_path):
    own = tmp_path / "My notes"
    shutil.copytree(pages, own)
    process = ropewalk("init", ".", cwd=own)
    assert "recipe.toml lies among the pages" in process.stderr
    assert 'into = "../my-notes-run"' in (own / "recipe.toml").read_text().splitlines()
    planned = ropewalk("run", "recipe.toml", "--dry-run", cwd=own)
    assert planned.returncode == 0, planned.stderr
    inside = refusal(ropewalk("run", "recipe.toml", "--into", "runs", cwd=own))
    assert "would be made at runs/corpus, inside its own input pages = '.': give another into" in inside
    assert "--out" not in inside


def test_init_takes_strange_names_and_refuses_what_holds_no_pages(tmp_path):
    strange = tmp_path / 'a "quoted"\\name\nand = line'
    strange.mkdir()
    assert "holds no pages" in refusal(ropewalk("init", strange, cwd=tmp_path))
    (strange / "page.md").write_text("# Rope")
    assert ropewalk("init", strange, cwd=tmp_path).returncode == 0
    assert ropewalk("run", "recipe.toml", "--dry-run", cwd=tmp_path).returncode == 0
    assert "is neither a folder nor an address" in refusal(ropewalk("init", "exmaple.org", "--out", "b.toml", cwd=tmp_path))


def test_doctor_ends_well_here_and_names_cures(tmp_path):
    process = ropewalk("doctor", "--folder", tmp_path)
    assert process.returncode == 0, process.stdout
    lines = process.stdout.splitlines()
    assert any(line.split()[:2] == ["ok", "torch"] for line in lines)
    notes = [number for number, line in enumerate(lines) if line.startswith(("note", "MISSING"))]
    assert all(lines[number + 1].lstrip().startswith("-> ") for number in notes)
