"""Where a model computes: on this process' GPU, if there is one."""

from __future__ import annotations

import torch

from ropewalk.model.transformer import Transformer


def settle(model: Transformer) -> Transformer:
    """Put a model there, with activations in bfloat16 on a GPU that has it. Returns the model."""
    if not torch.cuda.is_available():
        return model
    model.precision = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return model.to(torch.device("cuda", torch.cuda.current_device()))
