"""What a model thinks before it answers: text between marks at the beginning of its turn, as DeepSeek's and Qwen's have it.

    <think>
    47 * 38 is 50 * 38 - 3 * 38, 1900 - 114.
    </think>

    1786

Marks are no special tokens, so any tokenizer and any chat template will do, and only what begins an assistant's turn is
taken for thoughts. They are learned; they are neither shown as the answer nor graded; and once the user goes on, they are no
longer read.
"""

from __future__ import annotations

OPEN, CLOSE = "<think>", "</think>"


def with_thoughts(thoughts: str, said: str) -> str:
    """A whole turn: what is thought, then what is said."""
    return f"{OPEN}\n{thoughts.strip()}\n{CLOSE}\n\n{said}"


def parted(text: str) -> tuple[str, str]:
    """What a turn thinks, and what it says; nothing is said before the thoughts are closed."""
    reader = ThoughtReader()
    thoughts, said = reader.push(text)
    more_thoughts, rest = reader.flush()
    return (thoughts + more_thoughts).strip(), said + rest


def thinks(text: str) -> bool:
    """Whether a turn begins with thoughts."""
    return text.lstrip().startswith(OPEN)


class ThoughtReader:
    """Part a turn that comes in pieces, holding back what may be the beginning of a mark."""

    def __init__(self) -> None:
        self._held = ""
        self._place = "before"  # then "within" and "after", or at once "speaking"

    def push(self, piece: str) -> tuple[str, str]:
        """Take the next piece. Returns what is thought and what is said with it."""
        self._held += piece
        thoughts = ""
        if self._place == "before":
            begun = self._held.lstrip()
            if begun.startswith(OPEN):
                self._held, self._place = begun[len(OPEN) :], "within"
            elif not OPEN.startswith(begun):
                self._place = "speaking"
        if self._place == "within":
            thoughts, closed, rest = self._held.partition(CLOSE)
            if closed:
                self._held, self._place = rest, "after"
            else:
                kept = next((size for size in range(len(CLOSE) - 1, 0, -1) if thoughts.endswith(CLOSE[:size])), 0)
                cut = len(thoughts) - kept
                thoughts, self._held = thoughts[:cut], thoughts[cut:]
        if self._place == "after":
            self._held = self._held.lstrip()
            self._place = "speaking" if self._held else "after"
        said = ""
        if self._place == "speaking":
            said, self._held = self._held, ""
        return thoughts, said

    def flush(self) -> tuple[str, str]:
        """The end: what was held back is what it was within."""
        held, self._held = self._held, ""
        return (held, "") if self._place == "within" else ("", held)
