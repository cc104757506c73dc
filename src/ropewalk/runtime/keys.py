"""Keys for servers elsewhere, from the environment: a key on the command line can be seen by other users."""

from __future__ import annotations

import os

VARIABLE = "OPENAI_API_KEY"


def api_key() -> str:
    """What `OPENAI_API_KEY` says; servers that ask for no key take any."""
    return os.environ.get(VARIABLE, "none")
