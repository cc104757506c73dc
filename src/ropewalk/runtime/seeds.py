"""One way to turn names and numbers into random generators, the same on every machine and version."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def derive_seed(*parts: str | int) -> int:
    """Hash `parts` into a 63-bit seed. Different names give independent streams from one user seed."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(*parts: str | int) -> np.random.Generator:
    """A numpy generator on Philox.

    numpy fixes Philox's raw numbers, but not what a release's `permutation` makes of them: a stage whose result depends on
    this names numpy among its libraries.
    """
    import numpy as np

    return np.random.Generator(np.random.Philox(derive_seed(*parts)))
