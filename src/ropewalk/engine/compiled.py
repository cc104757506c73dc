"""One new token a text through compiled groups of blocks; block by block, `Transformer` is the twin that this equals.

Groups of one shape share their code: what is compiled is one group for a single text and one for any number of them.

Shapes: B sequences, D model width, S positions of keys.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ropewalk.model.cache import KeyValueCache, Memory, Places
from ropewalk.model.transformer import Angles, Transformer
from ropewalk.runtime.machine import can_compile
from ropewalk.runtime.progress import say

MOST_TOGETHER = 6  # blocks of a group: 30 at once take minutes to compile, single ones give half of the gain (LOG.md)


class Group(nn.Module):
    """Some of a model's blocks, one after another."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(
        self,
        x_B1D: Tensor,
        angles: Angles,
        mask_B11S: Tensor,
        k_LGNK: Sequence[Tensor],
        v_LGNK: Sequence[Tensor],
        written_N: Tensor,
        table_BP: Tensor,
    ) -> Tensor:
        """All that comes in is a tensor: what objects hold would be looked at before each call."""
        places = Places(written_N, table_BP, written_N, written_N)  # the last two are for extras and GPUs
        for block, k_GNK, v_GNK in zip(self.blocks, k_LGNK, v_LGNK, strict=True):
            x_B1D = block(x_B1D, x_B1D, angles, Memory(k_GNK, v_GNK, places), mask_B11S)
        return x_B1D


class Groups:
    """All blocks of a model, in groups of as many: a `Decode`."""

    def __init__(self, model: Transformer) -> None:
        blocks = list(model.model.layers)
        self.size = max(size for size in range(1, MOST_TOGETHER + 1) if len(blocks) % size == 0)
        self.groups = [Group(blocks[first : first + self.size]) for first in range(0, len(blocks), self.size)]
        for group in self.groups:
            group.compile(dynamic=True)

    def __call__(self, x_B1D: Tensor, angles: Angles, mask_B11S: Tensor, cache: KeyValueCache, places: Places) -> Tensor:
        for number, group in enumerate(self.groups):
            layers = slice(number * self.size, (number + 1) * self.size)
            held = cache.k_LGNK[layers], cache.v_LGNK[layers]
            x_B1D = group(x_B1D, angles, mask_B11S, *held, places.written_N, places.table_BP)
        return x_B1D


def compile_decoding(model: Transformer) -> None:
    """Let a model take one new token a text through compiled groups, and compile them now.

    Where that cannot be, it says so, and the model stays as it is.
    """
    if not can_compile():
        say("no C++ compiler with Python's headers here, so decoding is not compiled")
        return
    if model.lm_head.weight.is_cuda:
        say("decoding is not compiled on a GPU, where it is replayed from CUDA graphs")
        return
    if model.config.extras:
        say(f"decoding is not compiled for models with {', '.join(model.config.extras)}")
        return
    say("compiling what writes tokens: some 20 s")
    started = time.monotonic()
    model.decode = Groups(model)
    weight = model.model.embed_tokens.weight
    cache = KeyValueCache(model.config, pages=2, dtype=model.precision, device=weight.device)
    for texts in (1, 2):
        ids_B1 = torch.zeros(texts, 1, dtype=torch.long, device=weight.device)
        with torch.inference_mode():
            model(ids_B1, cache=cache, table_BP=1 + torch.arange(texts, device=weight.device)[:, None], positions_BT=ids_B1)
    say(f"compiled in {time.monotonic() - started:.0f} s")
