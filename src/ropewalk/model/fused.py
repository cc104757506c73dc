"""Loops over tensors that are compiled into one, for GPUs: what lies between them is then never written."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch


@functools.cache
def fused(function: Callable[..., Any], *, dynamic: bool | None = False) -> Callable[..., Any]:
    """The same function, compiled at its first call, and again for other shapes unless these may be `dynamic`."""
    return torch.compile(function, dynamic=dynamic)
