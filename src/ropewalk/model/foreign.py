"""A model made elsewhere, on its way in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ropewalk.model.checkpoint import TextEnds
from ropewalk.model.config import ModelConfig


@dataclass(frozen=True)
class Foreign:
    """A model made elsewhere, its weights still where they are.

    shapes: of the tensors there, under the names that its family's files have; `read` gives one of them.
    write_tokenizer: puts the tokenizer's files into a folder.
    generation: its makers' settings for sampling.
    about: `name`, `licence`, `source` and what else is known of it, for the manifest.
    """

    config: ModelConfig
    ends: TextEnds
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], Tensor]
    write_tokenizer: Callable[[Path], None]
    generation: Mapping[str, Any]
    about: Mapping[str, str]
