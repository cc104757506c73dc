from __future__ import annotations

from pathlib import Path

import pytest

from ropewalk.tokenizer import TokenizeOptions, run_tokenize


@pytest.fixture(scope="session")
def tokens(tmp_path_factory, corpus, gpt4_folder) -> Path:
    options = TokenizeOptions(corpus=corpus, tokenizer=gpt4_folder)
    return run_tokenize(options, out=tmp_path_factory.mktemp("tokens") / "tokens").path
