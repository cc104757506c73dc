"""Logistic regression over sparse rows, to the minimum: Newton's method with conjugate gradients (Lin et al. 2008).

Shapes: N rows, F features, Z entries in all rows together. Nothing is drawn and nothing is threaded: the same rows give
the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

NEWTON_STEPS = 100
GRADIENT_STEPS = 500
TOLERANCE = 1e-9


@dataclass(frozen=True)
class SparseRows:
    """A matrix (N, F): row n has `values` at `columns` from starts[n] up to starts[n + 1]. No row is empty.

    columns, values: (Z,). starts: (N + 1,).
    """

    columns: np.ndarray
    values: np.ndarray
    starts: np.ndarray
    features: int

    def times(self, weights_F: np.ndarray) -> np.ndarray:
        """The matrix times a column: (N,)."""
        return np.add.reduceat(weights_F[self.columns] * self.values, self.starts[:-1])

    def transposed_times(self, column_N: np.ndarray) -> np.ndarray:
        """The transposed matrix times a column: (F,)."""
        entries = np.repeat(column_N, np.diff(self.starts)) * self.values
        return np.bincount(self.columns, weights=entries, minlength=self.features)


def fit(rows: SparseRows, signs_N: np.ndarray, *, l2: float) -> np.ndarray:
    """The weights (F,) with the least mean(log(1 + exp(-sign * row @ weights))) + l2 / 2 * sum(weights**2).

    Args:
        signs_N: 1.0 or -1.0 for each row. l2: above 0, which makes the minimum unique.
    """
    count = len(signs_N)

    def loss(weights: np.ndarray) -> float:
        return float(np.logaddexp(0, -signs_N * rows.times(weights)).mean() + l2 / 2 * _dot(weights, weights))

    weights = np.zeros(rows.features)
    for _ in range(NEWTON_STEPS):
        wrong = 0.5 - 0.5 * np.tanh(0.5 * signs_N * rows.times(weights))  # probability of the other label
        gradient = l2 * weights - rows.transposed_times(signs_N * wrong) / count
        size = np.sqrt(_dot(gradient, gradient))
        if size <= TOLERANCE:
            return weights
        curvature = wrong * (1 - wrong) / count
        direction = _solve(
            lambda column, curvature=curvature: l2 * column + rows.transposed_times(curvature * rows.times(column)),
            -gradient,
            residual=size * min(0.1, np.sqrt(size)),
        )
        step, before, slope = 1.0, loss(weights), _dot(gradient, direction)
        while loss(weights + step * direction) > before + 1e-4 * step * slope + 1e-14:
            step /= 2
        weights = weights + step * direction
    raise AssertionError(f"no minimum in {NEWTON_STEPS} steps")


def _solve(matrix: Callable[[np.ndarray], np.ndarray], right: np.ndarray, *, residual: float) -> np.ndarray:
    """Solve matrix @ solution = right for a positive definite matrix until the error is `residual` long."""
    solution = np.zeros_like(right)
    left_over = direction = right
    length = _dot(left_over, left_over)
    for _ in range(GRADIENT_STEPS):
        if np.sqrt(length) <= residual:
            break
        image = matrix(direction)
        step = length / _dot(direction, image)
        solution = solution + step * direction
        left_over = left_over - step * image
        length_before, length = length, _dot(left_over, left_over)
        direction = left_over + (length / length_before) * direction
    return solution


def _dot(left: np.ndarray, right: np.ndarray) -> float:
    """The inner product without BLAS, whose sums depend on the number of threads."""
    return float((left * right).sum())
