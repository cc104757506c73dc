"""Several processes that train one model: who is who, and what they tell each other.

    torchrun --nproc-per-node 2 -m ropewalk pretrain --tokens ... --out runs/model

The first process writes the artifact; the others read the same inputs, learn their rows of every step and add their
gradients. Between CPUs they talk through gloo, between GPUs through NCCL (never tried: experimental).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from ropewalk.runtime.errors import MachineError

PATIENCE = timedelta(hours=1)  # evaluation is done by one while others wait


@dataclass(frozen=True)
class World:
    """This process among `size`; the first, of rank 0, is the one that writes."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.size > 1:
            works = [distributed.all_reduce(tensor, async_op=True) for tensor in tensors]
            for work in works:
                assert work is not None
                work.wait()

    def parts(self, count: int) -> list[slice]:
        """`count` things dealt out to the processes, a run of them to each."""
        return [slice(count * rank // self.size, count * (rank + 1) // self.size) for rank in range(self.size)]

    def share(self, tensors: Sequence[tuple[int, Tensor]]) -> None:
        """Replace each tensor by what the process of the rank beside it holds. None may be empty."""
        if self.size > 1:
            works = [distributed.broadcast(tensor, src=rank, async_op=True) for rank, tensor in tensors]
            for work in works:
                assert work is not None
                work.wait()

    def collect(self, part: Tensor, parts: Sequence[slice]) -> Tensor:
        """The parts that all processes hold, one after another along the first axis; the others need not keep it."""
        if self.size == 1:
            return part
        pieces = []
        for rank, dealt in enumerate(parts):
            piece = part if rank == self.rank else part.new_empty(dealt.stop - dealt.start, *part.shape[1:])
            if len(piece):
                distributed.broadcast(piece, src=rank)
                pieces.append(piece)
        return torch.cat(pieces)

    def tell(self, word: Any) -> Any:
        """What the first process says; the others' words are not heard."""
        if self.size == 1:
            return word
        words = [word]
        distributed.broadcast_object_list(words, src=0)
        return words[0]

    def leave(self) -> None:
        """Part from the others: a process that ends without that may abort."""
        if self.size > 1:
            distributed.destroy_process_group()


ALONE = World()


def the_world() -> World:
    """The processes that `torchrun` started, this one alone without it.

    Raises:
        MachineError: they do not find each other.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    if not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        try:
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise MachineError(
                f"the {size} processes do not find each other ({error}): start them with torchrun, or unset WORLD_SIZE"
            ) from None
    return World(distributed.get_rank(), distributed.get_world_size())


# Dense bfloat16 products a second and memory, from NVIDIA's data sheets.
GPUS = {"h100": (989e12, 80e9), "h200": (989e12, 141e9), "a100": (312e12, 80e9), "rtx4090": (165e12, 24e9)}


def gpu_peak() -> float | None:
    """What this process' GPU could compute in a second, if it is one of `GPUS`."""
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name().lower().replace(" ", "")
    return next((peak for known, (peak, _) in GPUS.items() if known in name), None)
