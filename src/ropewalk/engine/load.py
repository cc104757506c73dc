"""An engine from a model folder."""

from __future__ import annotations

import json
from pathlib import Path

from ropewalk.artifact.manifest import MANIFEST, open_artifact
from ropewalk.engine.engine import Engine
from ropewalk.model.checkpoint import GENERATION_CONFIG, load_model
from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.encoding import Tokenizer


def load_engine(folder: Path, *, slots: int = 8) -> Engine:
    """Load a model and its tokenizer; a model artifact is checked first.

    Raises:
        InputError, ArtifactError: no model there, a damaged one, or one without a tokenizer.
    """
    if (folder / MANIFEST).is_file():
        open_artifact(folder, "model")
    model = load_model(folder)
    tokenizer = Tokenizer.load(folder)
    if tokenizer.vocabulary > model.config.vocabulary:
        raise InputError(
            f"{folder}: the tokenizer has {tokenizer.vocabulary} tokens, the model {model.config.vocabulary}: "
            "they do not belong together, restore the folder"
        )
    generation = json.loads((folder / GENERATION_CONFIG).read_text(encoding="utf-8"))
    stop = generation["eos_token_id"]
    return Engine(model, tokenizer, frozenset(stop if isinstance(stop, list) else [stop]), slots=slots)
