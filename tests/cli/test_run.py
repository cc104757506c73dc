"""Recipes: made, skipped, rebuilt from a stage on, carried on after a kill; and every mistake before any work."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.cli.command import command, refusal, ropewalk


def digests(into: Path) -> dict[str, str]:
    return {path.parent.name: json.loads(path.read_text())["digest"] for path in sorted(into.glob("*/manifest.json"))}


def test_a_recipe_is_made_in_order_then_skipped(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    again = ropewalk("run", "small.toml", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "[1/3] corpus: ropewalk corpus" in again.stderr and "[3/3] tokens: ropewalk tokenize" in again.stderr
    assert again.stderr.count("already made") == 3
    rows = [line.split() for line in again.stdout.splitlines()]
    assert rows[0] == ["stage", "time", "digest", "size"]
    assert {row[0]: row[-3] for row in rows[1:]} == {
        name: digest[:12] for name, digest in digests(tmp_path / "runs").items()
    }


def test_dry_run_makes_nothing_and_tells_the_state_of_each_stage(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "runs" / "tokens")
    process = ropewalk("run", "small.toml", "--dry-run", cwd=tmp_path)
    rows = process.stdout.splitlines()
    assert rows[1].split() == ["corpus", "corpus", "standing"]
    assert rows[3].startswith("tokens") and " to make " in rows[3]
    assert "free disk at runs: " in rows[-1]
    rebuilt = ropewalk("run", "small.toml", "--dry-run", "--from", "tokenizer", cwd=tmp_path).stdout.splitlines()
    assert [" rebuild " in row for row in rebuilt[1:4]] == [False, True, True]
    assert not (tmp_path / "runs" / "tokens").exists()


def test_from_rebuilds_a_stage_and_what_depends_on_it(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    before = digests(tmp_path / "runs")
    refused = refusal(ropewalk("run", "small.toml", "--set", "tokenizer.vocabulary=310", cwd=tmp_path))
    assert "runs/tokenizer was made by another recipe (vocabulary: 300 then, 310 now)" in refused
    process = ropewalk("run", "small.toml", "--set", "tokenizer.vocabulary=310", "--from", "tokenizer", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    after = digests(tmp_path / "runs")
    assert {name for name in after if after[name] != before[name]} == {"tokenizer", "tokens"}


def test_a_change_late_in_the_recipe_is_refused_before_its_first_stage_is_made(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "runs" / "corpus")
    process = ropewalk("run", "small.toml", "--set", "tokens.shard_tokens=77", cwd=tmp_path)
    assert "shard_tokens: 100000000 then, 77 now" in refusal(process)
    assert not (tmp_path / "runs" / "corpus").exists() and not (tmp_path / "runs" / "corpus.part").exists()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("near_duplicates", "near_duplicate", "unknown option 'near_duplicate'; did you mean 'near_duplicates'?"),
        ("vocabulary = 300", 'vocabulary = "300"', "option 'vocabulary' is '300': input should be a valid integer"),
        ("vocabulary = 300", "vocabulary = 30", "option 'vocabulary' is 30"),
        ('tokenizer = "tokenizer"', 'tokenizer = "corpus"', "tokenizer = 'corpus' is corpus, but tokenizer is needed there"),
        ('corpus = "corpus"\ntokenizer', 'corpus = "pagse"\ntokenizer', "corpus = 'pagse' is neither a path nor made above"),
        ('stage = "tokenize"\n', 'stage = "tokenise"\n', "stage 'tokenise' is unknown"),
    ],
)
def test_mistakes_are_found_before_anything_is_made(recipe, tmp_path, old, new, sentence):
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))
    assert sentence in refusal(ropewalk("run", recipe))
    assert not (tmp_path / "runs").exists()


def test_unknown_stage_for_from_lists_the_stages(recipe):
    said = refusal(ropewalk("run", recipe, "--from", "tokenize"))
    assert said.endswith("has no such stage; it has corpus, tokenizer, tokens")


def test_damage_in_what_stands_is_refused_with_the_way_out(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    (tmp_path / "runs" / "tokenizer" / "tokenizer.json").write_text("{}")
    said = refusal(ropewalk("run", "small.toml", cwd=tmp_path))
    assert "tokenizer.json has 2 bytes instead of" in said and "--force" in said


def test_killed_anywhere_the_same_command_ends_with_the_same_digests(made, recipe, tmp_path):
    dice = random.Random(11)
    kills = 0
    for _ in range(4):
        process = subprocess.Popen(
            command("run", recipe), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(timeout=dice.uniform(0.3, 2.0))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills
    last = ropewalk("run", recipe)
    assert last.returncode == 0, last.stderr
    assert digests(tmp_path / "runs") == digests(made / "runs")


# `python -m` ends by the signal itself if Ctrl-C fell into an exec(), which dataclasses are made with; shells call it 130.
@pytest.mark.parametrize(("number", "codes"), [(signal.SIGINT, (130, -signal.SIGINT)), (signal.SIGTERM, (143,))])
def test_stopped_by_hand_it_says_that_nothing_is_lost(recipe, number, codes):
    process = subprocess.Popen(command("run", recipe), stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stderr:
        if line.startswith("[1/3]"):
            break
    time.sleep(0.2)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in codes, errors
    assert errors.strip().splitlines()[-1] == "Stopped. Nothing is lost: the same command carries on."
    assert "Traceback" not in errors
