"""Rows of ids, as the model reads them: one sequence each, or several that do not see each other.

Shapes: B rows, T time, N tokens that count, D model width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ropewalk.model.transformer import Transformer


@dataclass(frozen=True)
class Rows:
    """Rows of ids int64 (B, T), the tokens that follow them, and which of those count.

    positions_BT, documents_BT, branches_BT: where a row holds several sequences, as `Transformer.forward` takes them;
    document -1 is padding.
    """

    ids_BT: np.ndarray
    targets_BT: np.ndarray
    mask_BT: np.ndarray
    positions_BT: np.ndarray | None = None
    documents_BT: np.ndarray | None = None
    branches_BT: np.ndarray | None = None

    @property
    def tokens(self) -> int:
        """How many ids there are, without padding."""
        return self.ids_BT.size if self.documents_BT is None else int(np.count_nonzero(self.documents_BT >= 0))

    def some(self, chosen: slice) -> Rows:
        """These rows alone."""
        arrays = (getattr(self, one.name) for one in fields(self))
        return Rows(*(None if array is None else array[chosen] for array in arrays))  # pyright: ignore[reportArgumentType]


def states_and_targets(model: Transformer, rows: Rows) -> tuple[Tensor, Tensor]:
    """Read the rows; return the hidden states before the targets that count (N, D), and these targets (N,)."""
    device = model.lm_head.weight.device

    def there(array: Any) -> Any:
        if array is None:
            return None
        tensor = torch.from_numpy(array)
        if device.type == "cuda":
            tensor = tensor.contiguous().pin_memory()  # from other memory a copy waits for the pass before it
        return tensor.to(device, non_blocking=True)

    targets_N = there(rows.targets_BT).flatten()
    hidden_BTD = model(
        there(rows.ids_BT),
        positions_BT=there(rows.positions_BT),
        documents_BT=there(rows.documents_BT),
        branches_BT=there(rows.branches_BT),
    )
    hidden_ND = hidden_BTD.flatten(0, 1)
    if rows.mask_BT.all():
        return hidden_ND, targets_N
    # The head is a third of a small model's work: spare it what nobody learns.
    counted_N = there(np.flatnonzero(rows.mask_BT))
    return hidden_ND[counted_N], targets_N[counted_N]


def pack(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Put items of these lengths, in order, each into the fullest row that still has room; open a row where none has.

    Returns the items of each row, by their index in `lengths`.
    """
    rows: list[list[int]] = []
    by_space: list[list[int]] = [[] for _ in range(room + 1)]
    spaces = 0  # bit s is set where a row has s left: the lowest bit from `length` on is the best fit
    for item, length in enumerate(lengths):
        fitting = spaces >> length
        if fitting:
            space = length + (fitting & -fitting).bit_length() - 1
            row = by_space[space].pop()
            if not by_space[space]:
                spaces &= ~(1 << space)
        else:
            space, row = room, len(rows)
            rows.append([])
        rows[row].append(item)
        by_space[space - length].append(row)
        spaces |= 1 << (space - length)
    return rows


@dataclass(frozen=True)
class Stretch:
    """Ids, each of which but the last is read and each but the first a target, and which of these are learned.

    position: where in its sequence the first one stands. branch: as in `Rows.branches_BT`.
    """

    ids: np.ndarray
    learned: np.ndarray
    position: int = 0
    branch: int = 0

    @property
    def inputs(self) -> int:
        """How many ids are read."""
        return len(self.ids) - 1


def lay_out(packed: Sequence[Sequence[int]], read: Callable[[int], Sequence[Stretch]], *, shape: tuple[int, int]) -> Rows:
    """Rows (B, T) with these items in them, the rest padding. `read` gives what an item consists of."""
    ids_BT, targets_BT = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    mask_BT, positions_BT = np.zeros(shape, np.bool_), np.zeros(shape, np.int64)
    documents_BT, branches_BT = np.full(shape, -1, np.int64), np.zeros(shape, np.int64)
    for b, items in enumerate(packed):
        start = 0
        for number, one in ((number, one) for number, item in enumerate(items) for one in read(item)):
            here = slice(start, start + one.inputs)
            ids_BT[b, here], targets_BT[b, here], mask_BT[b, here] = one.ids[:-1], one.ids[1:], one.learned[1:]
            positions_BT[b, here] = one.position + np.arange(one.inputs)
            documents_BT[b, here], branches_BT[b, here] = number, one.branch
            start += one.inputs
    return Rows(ids_BT, targets_BT, mask_BT, positions_BT, documents_BT, branches_BT if branches_BT.any() else None)
