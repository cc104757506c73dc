"""What post-training begins from and leaves behind: a model's folder, of which only the weights are new."""

from __future__ import annotations

from typing import Any

import torch

from ropewalk.artifact import Artifact, Part
from ropewalk.model.adapter_file import ADAPTER, save_adapter
from ropewalk.model.checkpoint import save_like, stored_tensors
from ropewalk.model.lora import LoraShape, adapt, adapters
from ropewalk.model.transformer import Transformer
from ropewalk.posttrain import LearningOptions
from ropewalk.runtime.errors import ArtifactError
from ropewalk.runtime.seeds import derive_seed
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


def adapted(model: Transformer, options: LearningOptions) -> Transformer:
    """The model, frozen and with adapters, if the options ask for them."""
    if options.lora_rank is None:
        return model
    shape = LoraShape(options.lora_rank, options.lora_alpha, options.lora_rank_stabilised, options.lora_targets)
    return adapt(model, shape, seed=derive_seed("lora", options.seed))


def write_folder(model: Transformer, base: Artifact, part: Part) -> dict[str, Any]:
    """Write the weights, and everything else as it is in `base`; return the facts that any trained model has."""
    save_like(model, base.path, list(base.manifest["files"]), part.folder)
    return {
        "threads": torch.get_num_threads(),
        "parameters": model.config.parameters,
        "conversations": True,
        "shape": {"layers": model.config.layers, "width": model.config.width, "context_tokens": model.config.context_tokens},
        **write_adapter(model, part),
    }


def write_adapter(model: Transformer, part: Part, *, score: bool = False) -> dict[str, Any]:
    """Write the adapters, if there are any, into a folder of their own; return the facts of them.

    score: whether the head is a reward model's, which is trained with them.
    """
    if not adapters(model):
        return {}
    held, _ = stored_tensors(model.config)
    save_adapter(model, held, part.folder / ADAPTER, score_1D=model.lm_head.weight if score else None)
    return {"trained_parameters": sum(weight.numel() for weight in model.parameters() if weight.requires_grad)}
