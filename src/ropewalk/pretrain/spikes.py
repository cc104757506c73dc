"""Steps that are left out because their loss or gradient jumps."""

from __future__ import annotations

import torch
from torch import Tensor

HISTORY_STEPS = 128


class Spikes:
    """Tells a step that is no like the ones before it (OLMo 2, section 3.2: the step is skipped, not its gradient clipped).

    A step jumps if its loss or its gradient's norm lies more than `deviations` standard deviations above the mean of the
    last `HISTORY_STEPS` taken; until there are as many, none does.
    """

    def __init__(self, deviations: float | None) -> None:
        self.deviations = deviations
        self.history_S2 = torch.zeros(HISTORY_STEPS if deviations is not None else 0, 2, dtype=torch.float64)
        self.taken = torch.zeros((), dtype=torch.int64)

    def jumps(self, loss: float, gradient_norm: float) -> bool:
        """Whether a step is to be left out; one that is not is remembered."""
        if self.deviations is None:
            return False
        step = torch.tensor([loss, gradient_norm], dtype=torch.float64)
        if int(self.taken) >= HISTORY_STEPS:
            deviation, mean = torch.std_mean(self.history_S2, dim=0)
            if bool((step > mean + self.deviations * deviation).any()):
                return True
        self.history_S2[int(self.taken) % HISTORY_STEPS] = step
        self.taken += 1
        return False

    def state(self) -> dict[str, Tensor]:
        """What a run that carries on needs to know."""
        return {"history": self.history_S2, "taken": self.taken}
