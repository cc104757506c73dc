"""Where a model computes, and in which precision: on this process' GPU, if there is one."""

from __future__ import annotations

import torch

from ropewalk.model import Precision
from ropewalk.model.transformer import Linear, Transformer
from ropewalk.runtime.errors import OptionError


def settle(model: Transformer, precision: Precision = "auto") -> Transformer:
    """Put a model where it computes. Returns the model.

    auto: float32, but bfloat16 activations on a GPU that has them. bfloat16 on a CPU: the matrices too. int8: see `int8`;
    such a model can only be read.

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
    if precision == "bfloat16" and not on_gpu:
        for layer in model.modules():
            if isinstance(layer, Linear):  # a tied embedding keeps its own
                layer.weight = torch.nn.Parameter(layer.weight.detach().bfloat16(), requires_grad=False)
    return model.to(torch.device("cuda", torch.cuda.current_device())) if on_gpu else model
