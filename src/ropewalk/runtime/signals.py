"""Hold back Ctrl-C and SIGTERM for as long as a step takes, so that what it did can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

HELD_BACK = (signal.SIGINT, signal.SIGTERM)


class Held:
    """Signals that came while they were held back."""

    def __init__(self) -> None:
        self.before: dict[int, Any] = {}
        self.came: tuple[int, FrameType | None] | None = None

    def note(self, number: int, frame: FrameType | None) -> None:
        """Keep the first signal for later; a second one is for somebody who will not wait."""
        if self.came is not None:
            self._answer(number, frame)
        self.came = (number, frame)

    def answer(self) -> None:
        """Do now what a signal that came asks for: most often that raises."""
        if self.came is not None:
            (number, frame), self.came = self.came, None
            self._answer(number, frame)

    def _answer(self, number: int, frame: FrameType | None) -> None:
        handler = self.before[number]
        if callable(handler):
            handler(number, frame)
        elif handler == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


@contextmanager
def held_back() -> Iterator[Held]:
    """Hold signals back inside the block; ask `came`, call `answer` where it suits. Outside the main thread, do nothing."""
    held = Held()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return
    for number in HELD_BACK:
        held.before[number] = signal.signal(number, held.note)
    try:
        yield held
    finally:
        for number, handler in held.before.items():
            signal.signal(number, handler)
    held.answer()
