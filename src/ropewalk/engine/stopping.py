"""End a text at a string, wherever the tokens cut it."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Look for strings in a text that comes in pieces, and hold back what may still become one."""

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = strings
        self._held = ""

    def push(self, piece: str) -> tuple[str, bool]:
        """Take the next piece. Returns what can be shown now, and whether a string was met: the text ends before it."""
        text = self._held + piece
        met = [place for string in self._strings if (place := text.find(string)) >= 0]
        if met:
            self._held = ""
            return text[: min(met)], True
        kept = max((self._beginning(text, string) for string in self._strings), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept], False

    def flush(self) -> str:
        """The end: what was held back after all belongs to the text."""
        held, self._held = self._held, ""
        return held

    @staticmethod
    def _beginning(text: str, string: str) -> int:
        """How many characters at the end of `text` are the beginning of `string`, and not all of it."""
        for length in range(min(len(string) - 1, len(text)), 0, -1):
            if text.endswith(string[:length]):
                return length
        return 0
