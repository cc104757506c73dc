"""Where a model computes, and in which precision: on this process' GPU, if there is one."""

from __future__ import annotations

import torch

from ropewalk.model import Precision
from ropewalk.model.joining import join, one_linear
from ropewalk.model.transformer import LayerNorm, Linear, RMSNorm, Transformer
from ropewalk.runtime.errors import OptionError


def settle(model: Transformer, precision: Precision = "auto", *, reading: bool = False) -> Transformer:
    """Put a model where it computes. Returns the model.

    auto: float32, but bfloat16 activations on a GPU that has them. bfloat16 on a CPU: the matrices too. int8: see `int8`.
    reading: nobody trains it, so that on a GPU as well its matrices are held as they are multiplied, and joined.

    Raises:
        OptionError: int8 on a GPU. MachineError: int8 where torch has no product of bytes.
    """
    on_gpu = torch.cuda.is_available()
    if precision == "int8":
        if on_gpu:
            raise OptionError("--precision int8 is for CPUs: take bfloat16 on a GPU")
        from ropewalk.model.int8 import to_int8

        return to_int8(model)
    if precision == "bfloat16" or (precision == "auto" and on_gpu and torch.cuda.is_bf16_supported()):
        model.precision = torch.bfloat16
    if on_gpu and reading:
        join(model, one_linear)
    if model.precision == torch.bfloat16 and (reading or not on_gpu):
        for layer in model.modules():
            if isinstance(layer, (Linear, RMSNorm, LayerNorm)):  # a tied embedding keeps its own
                for name, weight in layer.named_parameters(recurse=False):
                    setattr(layer, name, torch.nn.Parameter(weight.detach().bfloat16(), requires_grad=False))
    return model.to(torch.device("cuda", torch.cuda.current_device())) if on_gpu else model
