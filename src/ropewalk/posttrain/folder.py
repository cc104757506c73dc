"""What post-training begins from and leaves behind: a model's folder, of which only the weights are new."""

from __future__ import annotations

from typing import Any

import torch

from ropewalk.artifact import Artifact, Part
from ropewalk.model.checkpoint import save_like
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import ArtifactError
from ropewalk.tokenizer.origin import made_with


def check_tokenizer(model: Artifact, tokens: Artifact) -> None:
    """Refuse tokens that are no conversations, or that another tokenizer made than the one in the model's folder.

    Raises:
        ArtifactError: so it is.
    """
    if "conversations" not in tokens.inputs:
        raise ArtifactError(f"{tokens.path} holds no conversations: make it with 'ropewalk tokenize --conversations'")
    if not made_with(tokens, model):
        raise ArtifactError(
            f"{tokens.path} was not made with the tokenizer of {model.path}: tokenize the conversations with that one"
        )


def write_folder(model: Transformer, base: Artifact, part: Part) -> dict[str, Any]:
    """Write the weights, and everything else as it is in `base`; return the facts that any trained model has."""
    save_like(model, base.path, list(base.manifest["files"]), part.folder)
    return {
        "threads": torch.get_num_threads(),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "conversations": True,
        "shape": {"layers": model.config.layers, "width": model.config.width, "context_tokens": model.config.context_tokens},
    }
