"""An engine from a model folder."""

from __future__ import annotations

import json
from pathlib import Path

from ropewalk.artifact import is_artifact, open_artifact
from ropewalk.engine.engine import Engine
from ropewalk.model import Compile, Precision
from ropewalk.model.checkpoint import CONFIG, GENERATION_CONFIG, load_model
from ropewalk.model.lora import share
from ropewalk.model.placing import settle
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.encoding import Tokenizer


def load_engine(
    folder: Path,
    *,
    slots: int = 8,
    adapter: Path | None = None,
    precision: Precision = "auto",
    guess_tokens: int = 0,
    compiling: Compile = "auto",
    beside: Transformer | None = None,
    reading: bool = True,
) -> Engine:
    """Load a model and its tokenizer, onto the GPU if there is one; a model artifact is checked first.

    beside: the same model without the adapter, in the same precision: what the adapter does not touch is held once for both.
    reading: nobody trains it: see `settle`.

    Raises:
        InputError, ArtifactError: no model there, a damaged one, or one without a tokenizer.
        OptionError, MachineError: a precision that is not for this machine.
    """
    if is_artifact(folder):
        open_artifact(folder, "model")
    model = settle(load_model(folder, adapter=adapter), precision, reading=reading)
    tokenizer = Tokenizer.load(folder)
    if tokenizer.vocabulary > model.config.vocabulary:
        raise InputError(
            f"{folder}: the tokenizer has {tokenizer.vocabulary} tokens, the model {model.config.vocabulary}: "
            "they do not belong together, restore the folder"
        )
    if beside is not None:
        share(model, beside)
    compiled = compiling == "auto"
    return Engine(model, tokenizer, _stop_ids(folder), slots=slots, guess_tokens=guess_tokens, compiled=compiled)


def _stop_ids(folder: Path) -> frozenset[int]:
    """The ids that end a text: generation_config.json's, else config.json's, as transformers looks for them."""
    for name in (GENERATION_CONFIG, CONFIG):
        path = folder / name
        stop = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.is_file() else None
        if stop is not None:
            return frozenset(stop if isinstance(stop, list) else [stop])
    raise InputError(f'{folder} does not say which token ends a text: add "eos_token_id" to its {GENERATION_CONFIG}')
