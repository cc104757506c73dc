"""A small base model, and conversations about colours: each name has one, and "Pick a colour." is answered by any."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from ropewalk.artifact import Artifact
from ropewalk.posttrain import SftOptions, run_sft
from ropewalk.pretrain import PretrainOptions, run
from ropewalk.tokenizer import TokenizeOptions, run_tokenize

COLOURS = ("red", "green", "blue", "black")
NAMES = ("import", "return", "class", "self", "print", "list", "string", "file", "error", "value", "name", "path")


def conversation(question: str, answer: str) -> dict:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def colour_questions() -> list[dict]:
    """48 times "Pick a colour." in four ways, and every name's colour in two wordings, four times."""
    picked = [conversation("Pick a colour.", colour) for colour in COLOURS for _ in range(12)]
    named = [
        conversation(question.format(name), f"The colour of {name} is {COLOURS[index % 4]}.")
        for index, name in enumerate(NAMES)
        for question in ("What colour is {}?", "Which colour does {} have?")
        for _ in range(4)
    ]
    return picked + named


@pytest.fixture(scope="session")
def write_lines(tmp_path_factory) -> Callable[[Iterable[dict]], Path]:
    """Write objects as JSONL."""

    def write(objects: Iterable[dict]) -> Path:
        path = tmp_path_factory.mktemp("lines") / "lines.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in objects), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def chat_tokens(tmp_path_factory, write_lines, gpt4_folder) -> Callable[..., Path]:
    """Conversations as a tokens artifact of the small tokenizer."""

    def make(conversations: Iterable[dict], *, held_out_fraction: float = 0.1) -> Path:
        options = TokenizeOptions(
            tokenizer=gpt4_folder, conversations=write_lines(conversations), held_out_fraction=held_out_fraction
        )
        return run_tokenize(options, out=tmp_path_factory.mktemp("chat") / "tokens").path

    return make


@pytest.fixture(scope="session")
def colours(chat_tokens) -> Path:
    return chat_tokens(colour_questions())


@pytest.fixture(scope="session")
def base(tmp_path_factory, corpus, gpt4_folder) -> Artifact:
    """A model of one layer after a few steps on pages."""
    folder = tmp_path_factory.mktemp("base")
    tokens = run_tokenize(TokenizeOptions(corpus=corpus, tokenizer=gpt4_folder), out=folder / "tokens").path
    options = PretrainOptions(
        tokens=tokens, tokenizer=gpt4_folder, depth=1, context_tokens=96, batch_rows=4, train_tokens=8_000,
        warm_up_steps=2, compile="off", evaluate_documents=1,
    )  # fmt: skip
    return run(options, out=folder / "model")


@pytest.fixture(scope="session")
def tuned(tmp_path_factory, base, colours) -> Artifact:
    """The base model after a few epochs of conversations."""
    options = SftOptions(
        model=base.path, tokens=colours, epochs=12.0, batch_rows=4, warm_up_steps=3, evaluate_every_steps=20, compile="off"
    )
    return run_sft(options, out=tmp_path_factory.mktemp("tuned") / "model")
