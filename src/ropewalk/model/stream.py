"""Write a safetensors file one tensor at a time.

safetensors' own writer wants all tensors at once, and writes beside the file, under a name that it draws: a kill leaves that
behind, among an artifact's files or as a checkpoint that nobody will delete. The format is a length, a table in JSON, and
the bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

NAMES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}


def stream(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], Tensor],
    *,
    metadata: Mapping[str, str],
    dtypes: Mapping[str, torch.dtype] | None = None,
) -> None:
    """Write tensors of these shapes, float32 where `dtypes` says nothing, one in memory at a time; `read` gives each."""
    table: dict[str, object] = {"__metadata__": dict(metadata)}
    kinds = {name: (dtypes or {}).get(name, torch.float32) for name in shapes}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + kinds[name].itemsize * math.prod(shape)
        table[name] = {"dtype": NAMES[kinds[name]], "shape": list(shape), "data_offsets": [start, end]}
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for name, shape in shapes.items():
            tensor = read(name).detach().cpu().to(kinds[name]).contiguous()
            assert tuple(tensor.shape) == shape, f"{name} is {tuple(tensor.shape)}, not {shape}"
            file.write(tensor.reshape(-1).numpy().data)
