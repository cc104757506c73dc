"""A model taught by conversations answers in the terminal; the oldest turns make room when the context is full."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ropewalk.pretrain import PretrainOptions, run
from ropewalk.tokenizer import TokenizeOptions, run_tokenize

COLOURS = {"hemp": "brown", "cotton": "white", "tar": "black", "moss": "green", "rust": "red"}


@pytest.fixture(scope="module")
def model(tmp_path_factory, gpt4_folder) -> Path:
    home = tmp_path_factory.mktemp("chat")
    lines = [
        {"messages": [{"role": "user", "content": f"What is {name}?"}, {"role": "assistant", "content": f"It is {colour}."}]}
        for name, colour in COLOURS.items()
    ]
    (home / "talk.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines * 20))
    options = TokenizeOptions(tokenizer=gpt4_folder, conversations=home / "talk.jsonl", held_out_fraction=0.0)
    tokens = run_tokenize(options, out=home / "tokens").path
    taught = PretrainOptions(
        tokens=tokens,
        tokenizer=gpt4_folder,
        depth=1,
        context_tokens=64,
        batch_rows=8,
        train_tokens=60_000,
        compile="off",
    )
    return run(taught, out=home / "model").path


def chat(model: Path, *lines: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ropewalk", "chat", "--model", str(model), "--temperature", "0", *options]
    done = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def test_it_answers_what_it_was_taught(model):
    questions = [line for name in COLOURS for line in (f"What is {name}?", "/new")]
    assert chat(model, *questions).stdout.split("\n")[:-1] == [f"It is {colour}." for colour in COLOURS.values()]


def test_a_long_conversation_drops_its_oldest_turns_and_says_so(model):
    done = chat(model, *["What is tar?"] * 6)
    assert len(done.stdout.splitlines()) == 6
    assert "are left out" in done.stderr


def test_a_turn_too_long_for_the_model_is_refused_and_the_conversation_goes_on(model):
    done = chat(model, "word " * 200, "What is moss?")
    assert "shorten it" in done.stderr
    assert done.stdout == "It is green.\n"


def test_a_folder_that_is_no_model_is_one_sentence(tmp_path):
    command = [sys.executable, "-m", "ropewalk", "chat", "--model", str(tmp_path)]
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "is not a model" in done.stderr
