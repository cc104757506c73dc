"""A small corpus of real text (Python's own sources) and of scripts it lacks, and a tokenizer learned from it."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ropewalk.artifact import build
from ropewalk.runtime.threads import wait_politely
from ropewalk.tokenizer import TokenizerOptions, run_tokenizer

wait_politely()  # before any test imports torch

FOREIGN = (
    "Καλημέρα κόσμε, τι κάνεις σήμερα; ",
    "Привет, мир! Сегодня хорошая погода. ",
    "你好，世界。今天天气很好。",
    "नमस्ते दुनिया, आप कैसे हैं? ",
    "مرحبا بالعالم، كيف حالك اليوم؟ ",
    "👩‍👩‍👧‍👦 🇩🇪 e\u0301 ﬁn ",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak-seconds", type=int, default=20, help="how long a server is overloaded by tests/serve/test_soak.py"
    )


def documents() -> list[str]:
    """About 300 documents of 500 to 5,000 characters."""
    rng = random.Random(0)
    library = sorted(Path(os.__file__).parent.glob("[a-h]*.py"))
    source = "".join(path.read_text(encoding="utf-8", errors="replace") for path in library)[:600_000]
    texts = []
    while source:
        size = rng.randrange(500, 5_000)
        texts.append(source[:size] + rng.choice(FOREIGN) * rng.randrange(3))
        source = source[size:]
    return texts


@pytest.fixture(scope="session")
def source_texts() -> list[str]:
    """The texts that the tokenizers of these tests are learned from, held-out ones too."""
    return documents()


@pytest.fixture(scope="session")
def write_corpus() -> Callable[..., Path]:
    """Make a corpus artifact of texts, in order; every `held_out_every`-th is held out, `languages` take turns."""

    def write(out: Path, texts: Sequence[str], *, held_out_every: int = 10, languages: Sequence[str] = ("en",)) -> Path:
        def make(part):
            table = pa.table(
                {
                    "text": list(texts),
                    "url": [f"http://127.0.0.1/{index}" for index in range(len(texts))],
                    "page_id": [hashlib.sha256(f"{index} {text}".encode()).hexdigest() for index, text in enumerate(texts)],
                    "language": [languages[index % len(languages)] for index in range(len(texts))],
                    "split": ["train" if (index + 1) % held_out_every else "held_out" for index in range(len(texts))],
                }
            )
            pq.write_table(table, part.folder / "documents-00000.parquet")
            return {"documents": len(texts)}

        return build(out, kind="corpus", stage_version=1, options={}, inputs={}, libraries=(), make=make).path

    return write


@pytest.fixture(scope="session")
def corpus(tmp_path_factory, write_corpus) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus", documents())


@pytest.fixture(scope="session")
def gpt4_folder(tmp_path_factory, corpus) -> Path:
    options = TokenizerOptions(corpus=corpus, vocabulary=1_500)
    return run_tokenizer(options, out=tmp_path_factory.mktemp("gpt4") / "tokenizer").path


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory, corpus) -> Path:
    options = TokenizerOptions(corpus=corpus, vocabulary=1_500, pattern="gpt2")
    return run_tokenizer(options, out=tmp_path_factory.mktemp("gpt2") / "tokenizer").path


@pytest.fixture(scope="session", params=["gpt4_folder", "gpt2_folder"])
def tokenizer_folder(request) -> Path:
    return request.getfixturevalue(request.param)
