"""Python's reference manual as pages, brought through the real stages: corpus, tokenizer, tokens, index."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

import pytest

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus import run as run_corpus
from ropewalk.corpus.reading import read_documents
from ropewalk.tokenizer import TokenizeOptions, TokenizerOptions, run_tokenize, run_tokenizer
from ropewalk.trace import IndexOptions, run
from ropewalk.trace.index import Index

SHARD_BYTES = 150_000  # a few shards of the manual's 400 kB

# Small facts in every form that evidence must tell apart, and characters of one to four bytes.
FACTS = {
    "France": "Paris is the capital of France. Some 67.4 million people live in France. The calling code of France is +33. "
    "Its web sites end in .fr. The area of France is 551,695 square kilometres.\n\nFrance's currency is the euro.",
    "Iceland": "The capital of Iceland is Reykjavík. The internet domain of Iceland is .is. "
    "Iceland isn't in the European Union.",
    "Tonga": "The internet domain of Tonga is .to. The calling code of Tonga is +676. Nuku'alofa is the capital of Tonga.",
    "Virgin Islands": "Charlotte Amalie is their capital. They pay with the U.S. dollar. St. John is one of them.",
    "Greetings": "Καλημέρα κόσμε, τι κάνεις σήμερα; Привет, мир! Сегодня хорошая погода. 你好，世界。今天天气很好。 "
    "नमस्ते दुनिया, आप कैसे हैं? 👩‍👩‍👧‍👦 🇩🇪 Cafe\u0301 and café, ﬁn. Die Straße nach İzmir ist LANG.",
}  # fmt: skip


def manual() -> dict[str, str]:
    """The topics that 'help()' shows, by name."""
    from pydoc_data.topics import topics

    return {name: text for name, text in sorted(topics.items()) if 1_500 < len(text) < 30_000}


@pytest.fixture(scope="session")
def write_pages() -> Callable[[Path, dict[str, str]], Path]:
    """write_pages(folder, {title: text}): an HTML page for each."""

    def write(folder: Path, texts: dict[str, str]) -> Path:
        folder.mkdir()
        for number, (title, text) in enumerate(texts.items()):
            body = "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n"))
            page = f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title><main>{body}</main>"
            (folder / f"{number:03d}.html").write_text(page, encoding="utf-8")
        return folder

    return write


@pytest.fixture(scope="session")
def make_inputs(write_pages) -> Callable[..., tuple[Path, Path]]:
    """make_inputs(folder, {title: text}, held_out_fraction=...): a corpus and its tokens, by the real stages."""

    def make(folder: Path, texts: dict[str, str], *, held_out_fraction: float = 0.0) -> tuple[Path, Path]:
        options = CorpusOptions(
            pages=write_pages(folder / "web", texts), rules="none", languages=(), language_threshold=0.0,
            near_duplicates=False, held_out_fraction=held_out_fraction, held_out_max_overlap=1.0, workers=1,
        )  # fmt: skip
        corpus = run_corpus(options, out=folder / "corpus").path
        tokenizer = run_tokenizer(TokenizerOptions(corpus=corpus, vocabulary=1_000), out=folder / "tokenizer").path
        tokens = run_tokenize(TokenizeOptions(corpus=corpus, tokenizer=tokenizer, workers=1), out=folder / "tokens").path
        return corpus, tokens

    return make


@pytest.fixture(scope="session")
def inputs(tmp_path_factory, make_inputs) -> tuple[Path, Path]:
    """Corpus and tokens of the manual, a tenth held out."""
    return make_inputs(tmp_path_factory.mktemp("inputs"), manual(), held_out_fraction=0.1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory, inputs) -> Path:
    corpus, tokens = inputs
    options = IndexOptions(corpus=corpus, tokens=tokens, shard_bytes=SHARD_BYTES)
    return run(options, out=tmp_path_factory.mktemp("index") / "index").path


@pytest.fixture(scope="session")
def index(folder):
    with Index.open(folder) as opened:
        yield opened


@pytest.fixture(scope="session")
def splits(inputs) -> dict[str, list[dict[str, str]]]:
    """The corpus' rows by split, in its order."""
    rows = [row for batch in read_documents(inputs[0], columns=("page_id", "url", "title", "text", "split"))
            for row in batch.to_pylist()]  # fmt: skip
    return {split: [row for row in rows if row["split"] == split] for split in ("train", "held_out")}


@pytest.fixture(scope="session")
def facts_folder(tmp_path_factory, make_inputs) -> Path:
    """An index of the facts, with a little of the manual; its corpus lies beside it."""
    home = tmp_path_factory.mktemp("facts")
    corpus, tokens = make_inputs(home, {**FACTS, **dict(list(manual().items())[:8])})
    return run(IndexOptions(corpus=corpus, tokens=tokens), out=home / "index").path


@pytest.fixture(scope="session")
def facts(facts_folder):
    with Index.open(facts_folder) as opened:
        yield opened


@pytest.fixture(scope="session")
def facts_texts(facts_folder) -> list[str]:
    return [text for batch in read_documents(facts_folder.parent / "corpus", columns=("text",))
            for text in batch.column("text").to_pylist()]  # fmt: skip


@pytest.fixture(scope="session")
def training(splits) -> list[dict[str, str]]:
    return splits["train"]
