"""Union-find over row numbers, whole arrays of edges at a time: who is linked, directly or through others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ropewalk.corpus.spill import Spill

_BLOCK_ROWS = 1_000_000


def row_type(count: int) -> type[np.unsignedinteger]:
    """The smallest type that numbers `count` rows: 4 bytes up to 4 billion, 8 beyond."""
    return np.uint32 if count <= 1 << 32 else np.uint64


class Clusters:
    """The connected components of `count` rows. Memory: a row number per row, and what one call brings.

    In what order edges come, and in how many calls, makes no difference to `keepers`.
    """

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count, dtype=row_type(count))

    def join(self, edges: np.ndarray) -> None:
        """Link pairs of rows. edges: (E, 2) row numbers."""
        left, right = edges[:, 0], edges[:, 1]
        while len(left):
            left, right = self._roots(left), self._roots(right)
            apart = left != right
            left, right = np.minimum(left, right)[apart], np.maximum(left, right)[apart]
            np.minimum.at(self._parent, right, left)  # the smaller is never below the larger: there are no rings

    def keepers(self) -> np.ndarray:
        """The smallest row of each row's component, itself if it is that one."""
        for start in range(0, len(self._parent), _BLOCK_ROWS):
            end = min(start + _BLOCK_ROWS, len(self._parent))
            self._roots(np.arange(start, end, dtype=self._parent.dtype))  # leaves them right under their root
        return self._parent

    def _roots(self, rows: np.ndarray) -> np.ndarray:
        """Where the rows' trees end. Each round halves the way of all of them, for the next who goes it too."""
        while True:
            up = self._parent[rows]
            further = self._parent[up]
            if np.array_equal(up, further):
                return up
            self._parent[rows] = further


def keepers(
    blocks: Iterable[tuple[np.ndarray, list[np.ndarray]]], *, count: int, expected: int, lanes: int, folder: Path
) -> np.ndarray:
    """For each of `count` rows the first of its cluster: those that agree in any key, and whoever is linked through others.

    Memory: a row number a row, and what a `Spill` takes. Disk: a record of the `Spill` for each key.

    Args:
        blocks: rows (N,) with as many arrays of keys, uint64 (N,) or (N, lanes), as there are kinds of key.
        expected: about how many rows the blocks hold.
    """
    spills: list[Spill] = []
    for rows, keys in blocks:
        while len(spills) < len(keys):
            spills.append(Spill(folder / f"{len(spills):03d}", lanes=lanes, expected=expected))
        for spill, column in zip(spills, keys, strict=True):
            spill.add(column, rows)
    clusters = Clusters(count)
    for spill in spills:
        for edges in spill.edges():
            clusters.join(edges)
    return clusters.keepers()
