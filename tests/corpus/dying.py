"""What spawned workers can import."""

import os
import signal
from pathlib import Path


def dies_once(mark: Path) -> str:
    """Kill this process as somebody else would, unless that was done before."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "lived"
