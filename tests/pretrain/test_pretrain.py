"""Training learns, resumes exactly after a kill, and says which pages it read."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ropewalk.artifact import open_artifact
from ropewalk.pretrain import PretrainOptions, pages_read, run
from ropewalk.runtime.errors import ArtifactError, OptionError
from ropewalk.runtime.metrics import read_metrics
from ropewalk.tokenizer import TokenizerOptions, run_tokenizer

SMALL = {"depth": 1, "context_tokens": 64, "batch_rows": 4, "compile": "off", "warm_up_steps": 5, "evaluate_documents": 3}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tokens, gpt4_folder):
    options = PretrainOptions(tokens=tokens, tokenizer=gpt4_folder, train_tokens=30_000, evaluate_every_steps=40, **SMALL)
    return run(options, out=tmp_path_factory.mktemp("model") / "model")


def test_the_loss_falls_and_is_written_down(trained):
    rows = read_metrics(trained.path / "logs")
    assert [row["step"] for row in rows] == list(range(trained.facts["steps"])) == list(range(118))
    assert rows[0]["train/loss"] == pytest.approx(7.313, abs=0.05)  # ln 1500: a uniform guess
    assert rows[-1]["train/loss"] < 6.0
    scored = [row["held_out/bits_per_byte"] for row in rows if "held_out/bits_per_byte" in row]
    assert len(scored) == 3
    assert scored[-1] == pytest.approx(trained.facts["held_out_bits_per_byte"])
    assert list((trained.path / "logs" / "tensorboard").glob("events.*"))


def test_the_artifact_is_a_hugging_face_folder(trained):
    names = set(trained.manifest["files"])
    assert {"config.json", "model.safetensors", "generation_config.json", "tokenizer.json", "chat_template.jinja"} <= names
    assert not any("checkpoint" in name or name.startswith("logs") for name in names)


def test_a_tokenizer_that_did_not_make_the_tokens_is_refused(tmp_path, corpus, tokens):
    other = run_tokenizer(TokenizerOptions(corpus=corpus, vocabulary=400), out=tmp_path / "other")
    with pytest.raises(ArtifactError, match="give the tokenizer that made these tokens"):
        run(PretrainOptions(tokens=tokens, tokenizer=other.path, **SMALL), out=tmp_path / "model")


def test_pages_read_is_a_replay(trained, corpus):
    some = list(pages_read(trained.path, 10))
    everything = list(pages_read(trained.path, trained.facts["steps"]))
    assert everything[: len(some)] == some
    assert all(url.startswith("http://127.0.0.1/") and len(page_id) == 64 for page_id, url in everything)
    assert list(pages_read(trained.path, 0)) == []
    with pytest.raises(OptionError, match="118 steps"):
        list(pages_read(trained.path, 119))


PROGRAM = """
import sys
from pathlib import Path
import ropewalk.pretrain.loop as loop
from ropewalk.pretrain import PretrainOptions, run
loop.CHECKPOINT_EVERY_SECONDS = 0.05
tokens, tokenizer, out = map(Path, sys.argv[1:])
run(PretrainOptions(tokens=tokens, tokenizer=tokenizer, train_tokens=360_000, evaluate_every_steps=50, depth=1,
                    context_tokens=64, batch_rows=16, compile="off", evaluate_documents=3), out=out)
"""


def test_killed_runs_end_with_the_weights_of_an_undisturbed_one(tmp_path, tokens, gpt4_folder):
    """Killed after some steps, while a checkpoint is written, and where an epoch ends."""
    command = [sys.executable, "-c", PROGRAM, str(tokens), str(gpt4_folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    subprocess.run([*command, str(tmp_path / "straight")], check=True, env=environment, capture_output=True)
    straight = open_artifact(tmp_path / "straight")
    epoch_steps = round(straight.facts["steps"] / straight.facts["epochs"])
    assert 2 * epoch_steps < straight.facts["steps"]
    rng, kills = random.Random(8), 0
    out, part = tmp_path / "killed", tmp_path / "killed.part"
    moments = [
        lambda: rng.random() < 0.02,
        (part / "scratch" / "checkpoint.draft").exists,
        lambda: rng.random() < 0.02,
        lambda: steps_logged(part) >= epoch_steps,
        (part / "scratch" / "checkpoint.draft").exists,
    ]
    while not out.exists():
        process = subprocess.Popen([*command, str(out)], env=environment, stderr=subprocess.DEVNULL)
        if kills < len(moments):
            wait_for(part / "scratch" / "checkpoint.safetensors", process)
            while process.poll() is None and not moments[kills]():
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
        else:
            assert process.wait() == 0
    assert kills == len(moments)
    killed = open_artifact(out)
    assert killed.digest == straight.digest
    rows = [json.loads(line) for line in (out / "logs" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(straight.facts["steps"]))
    assert [r["train/loss"] for r in rows] == [r["train/loss"] for r in read_metrics(straight.path / "logs")]


def steps_logged(part: Path) -> int:
    metrics = part / "logs" / "metrics.jsonl"
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Until this run has written its own checkpoint, or ended."""
    since = time.time()
    while process.poll() is None and not (path.exists() and path.stat().st_mtime > since):
        time.sleep(0.01)
