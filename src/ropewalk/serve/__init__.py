"""Where people meet the model. For now: `ropewalk chat` in the terminal.

ropewalk chat --model runs/docs/model
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le


@dataclass(frozen=True)
class ChatOptions:
    """Talk to a model in the terminal."""

    model: Path
    """The model: an artifact or a Hugging Face folder."""
    system: str = ""
    """A system message for the model to follow, if it was taught to."""
    max_tokens: Annotated[int, Gt(0)] = 300
    """Most tokens an answer may have."""
    temperature: Annotated[float, Ge(0)] = 0.7
    """0 always takes the most probable token; 1 samples the model's own distribution."""
    top_k: Annotated[int, Ge(0)] = 0
    """Sample among the k most probable tokens only; 0 for all."""
    top_p: Annotated[float, Gt(0), Le(1)] = 0.95
    """Sample among the most probable tokens that together reach this probability."""
    seed: Annotated[int, Ge(0)] = 0
    """The same seed and the same words give the same answers."""


def run_chat(options: ChatOptions) -> None:
    """Hold a conversation on stdin and stdout until end of input or `/exit`.

    Raises:
        InputError, ArtifactError: no model there, or a damaged one.
    """
    from ropewalk.serve.terminal import chat

    chat(options)
