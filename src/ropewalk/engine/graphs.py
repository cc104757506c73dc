"""One new token a text, from ids to logits, as a CUDA graph: some hundred kernels in one launch.

Launched one by one from Python they take longer than a small model's work. A graph is for so many texts, so a batch is
filled up to the next number that has one; a filling row reads and writes page 0, which is nobody's.
`Transformer` is the twin that this equals. Weights are read where they lie: training changes them in their places.

Shapes: B texts, P pages of a context, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ropewalk.model.cache import KeyValueCache, pages_for
from ropewalk.model.transformer import Transformer

FEW_TEXTS = 8  # up to which numbers are powers of two, and multiples of this from there on


def filled(texts: int) -> int:
    """The number of texts for which there is a graph, that many or some more."""
    return 1 << (texts - 1).bit_length() if texts <= FEW_TEXTS else -(-texts // FEW_TEXTS) * FEW_TEXTS


class Graphs:
    """A model's step over one cache, captured for each number of texts when it is first asked for.

    On a CPU nothing is captured: the very same step is called.
    """

    def __init__(self, model: Transformer, cache: KeyValueCache, *, slots: int) -> None:
        """`cache` may not move from now on."""
        self.model, self.cache, self.on_gpu = model, cache, model.lm_head.weight.is_cuda
        self.columns = 2 + pages_for(model.config.context_tokens)  # an id, its position, the pages
        room = filled(slots) * self.columns
        self.told = torch.zeros(room, dtype=torch.long, pin_memory=self.on_gpu)  # what the CPU says of a step, in one piece
        self.heard = self.told.to(model.lm_head.weight.device, copy=True)
        self.steps: dict[int, Callable[[], Tensor]] = {}
        self.pool = torch.cuda.graph_pool_handle() if self.on_gpu else None

    def __call__(self, ids: Sequence[int], positions: Sequence[int], table_BP: Sequence[np.ndarray]) -> Tensor:
        """The logits behind one id of each text at its position, (B, V); they stand until the next call."""
        B = filled(len(ids))
        told_BN = self._rows(self.told, B).numpy()
        told_BN[: len(ids), 0], told_BN[: len(ids), 1], told_BN[: len(ids), 2:] = ids, positions, table_BP
        told_BN[len(ids) :] = 0
        self._rows(self.heard, B).copy_(self._rows(self.told, B), non_blocking=True)
        if B not in self.steps:
            self.steps[B] = self._captured(B) if self.on_gpu else partial(self._step, B)
        return self.steps[B]()[: len(ids)]

    def _rows(self, buffer: Tensor, texts: int) -> Tensor:
        return buffer[: texts * self.columns].view(texts, self.columns)

    def _step(self, texts: int) -> Tensor:
        ids_B1, positions_B1, table_BP = self._rows(self.heard, texts).split([1, 1, self.columns - 2], dim=1)
        hidden_B1D = self.model(ids_B1, cache=self.cache, table_BP=table_BP, positions_BT=positions_B1)
        return self.model.logits(hidden_B1D[:, 0])

    def _captured(self, texts: int) -> Callable[[], Tensor]:
        """The step as a graph. It is taken once before, so that what is made once is not made in the graph."""
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            self._step(texts)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            logits_BV = self._step(texts)

        def replay() -> Tensor:
            graph.replay()
            return logits_BV

        return replay
