"""How the learning rate and the momentum move over a run: pure functions of the step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, a plateau, and a linear warm-down over the last part of the run."""

    steps: int
    warm_up_steps: int
    warm_down_fraction: float
    final_fraction: float = 0.05

    def rate_fraction(self, step: int) -> float:
        """The share of the peak learning rate at `step` (from 0)."""
        rising = min(1.0, (step + 1) / max(1, self.warm_up_steps))
        warm_down_steps = max(1.0, self.warm_down_fraction * self.steps)
        left = min(1.0, (self.steps - step) / warm_down_steps)
        return rising * (self.final_fraction + (1 - self.final_fraction) * left)

    def momentum(self, step: int) -> float:
        """Muon's momentum: 0.85 rising to 0.95 over 300 steps, since early gradients turn fast (Jordan et al. 2024)."""
        return 0.85 + 0.10 * min(1.0, step / 300)
