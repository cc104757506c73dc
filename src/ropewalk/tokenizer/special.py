"""The special tokens: ids that no text can ever encode to."""

from __future__ import annotations

from collections.abc import Mapping

BOUNDARY = "<|endoftext|>"  # before every document, so that a model starts from it; ends generation from a base model
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
PAD = "<|pad|>"
TOOL_START = "<|tool_start|>"  # around a call, inside an assistant's turn; the result comes back as a turn of role "tool"
TOOL_END = "<|tool_end|>"

SPECIAL = (BOUNDARY, TURN_START, TURN_END, PAD, TOOL_START, TOOL_END)


def special_ids(learned: int) -> Mapping[str, int]:
    """Special tokens come after the `learned` byte and BPE tokens."""
    return {name: learned + index for index, name in enumerate(SPECIAL)}
