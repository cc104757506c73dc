"""The one inference engine: text from a model, for the terminal, evaluation, rollouts and the server.

ropewalk generate --model runs/docs/model --prompt "To sort a list"

engine      requests in slots: submit, step, cancel; generate and stream over them
load        an engine from a model folder
sampling    temperature, top-k, top-p, seeds
stopping    strings that end a text
confidence  how sure a model was of an answer
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le


@dataclass(frozen=True)
class GenerateOptions:
    """Continue a text."""

    model: Path
    """The model: an artifact or a Hugging Face folder."""
    prompt: str = ""
    """The text to continue; empty starts a document."""
    max_tokens: Annotated[int, Gt(0)] = 200
    """Most tokens to add."""
    temperature: Annotated[float, Ge(0)] = 0.7
    """0 always takes the most probable token; 1 samples the model's own distribution."""
    top_k: Annotated[int, Ge(0)] = 0
    """Sample among the k most probable tokens only; 0 for all."""
    top_p: Annotated[float, Gt(0), Le(1)] = 0.95
    """Sample among the most probable tokens that together reach this probability."""
    seed: Annotated[int, Ge(0)] = 0
    """The same seed gives the same text."""
    samples: Annotated[int, Gt(0)] = 1
    """Texts to generate, side by side in one batch, at seeds `seed`, `seed` + 1, ..."""


def run_generate(options: GenerateOptions) -> None:
    """Print continuations to stdout, streaming when there is one.

    Raises:
        InputError: no model there, or a prompt longer than its context.
    """
    from ropewalk.engine.generate import generate

    generate(options)
