"""One small model for all tests of this room."""

from __future__ import annotations

import pytest
from tests.engine.small import new_model, new_tokenizer

from ropewalk.model.transformer import Transformer
from ropewalk.tokenizer.encoding import Tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return new_tokenizer()


@pytest.fixture(scope="session")
def model(tokenizer) -> Transformer:
    return new_model(tokenizer)
