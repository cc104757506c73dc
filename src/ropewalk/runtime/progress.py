"""Show long work: a bar on a terminal, a dated line now and then elsewhere (logs, CI, a killed run's output)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ropewalk.runtime.terminal import printable

LINE_EVERY_SECONDS = 10.0


class Bar(Protocol):
    """A running task of known or unknown length."""

    def advance(self, amount: float = 1, note: str | None = None) -> None:
        """Add `amount` finished units; `note` replaces the short text behind the bar."""
        ...


def say(text: str) -> None:
    """Print one line for the person at the terminal; stdout stays free for results."""
    print(printable(text), file=sys.stderr, flush=True)


@contextmanager
def progress(title: str, *, total: float | None, unit: str, done: float = 0, silent: bool = False) -> Iterator[Bar]:
    """Report the work inside the block with its rate and the time left.

    `done` units were finished before (a resumed stage): they fill the bar but do not count for the rate.
    silent: report nothing, because another process does.
    """
    if silent:
        yield _Silent()
        return
    if sys.stderr.isatty():
        with _rich_bar(title, total, unit, done) as bar:
            yield bar
        return
    bar = _Lines(title, total, unit, done)
    try:
        yield bar
    finally:
        bar.close()


class _Silent:
    """Progress that nobody sees."""

    def advance(self, amount: float = 1, note: str | None = None) -> None:
        pass


class _Lines:
    """Progress for logs: one line every `LINE_EVERY_SECONDS`, and a last one if the work took over a second."""

    def __init__(self, title: str, total: float | None, unit: str, done: float) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done, self.done_before = done, done
        self.note = ""
        self.started = self.printed = time.monotonic()

    def advance(self, amount: float = 1, note: str | None = None) -> None:
        self.done += amount
        self.note = self.note if note is None else note
        now = time.monotonic()
        if now - self.printed >= LINE_EVERY_SECONDS:
            self.printed = now
            self._print(now)

    def close(self) -> None:
        if time.monotonic() - self.started >= 1:
            self._print(time.monotonic())

    def _print(self, now: float) -> None:
        elapsed_seconds = max(now - self.started, 1e-9)
        per_second = (self.done - self.done_before) / elapsed_seconds
        of_total = f"/{_count(self.total)}" if self.total else ""
        left = ""
        if self.total and per_second > 0:
            left = f", {clock(max(0.0, (self.total - self.done) / per_second))} left"
        note = f"  {self.note}" if self.note else ""
        rate = f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.2g}"
        say(f"{self.title}: {_count(self.done)}{of_total} {self.unit}, {rate}/s, {clock(elapsed_seconds)}{left}{note}")


@contextmanager
def _rich_bar(title: str, total: float | None, unit: str, done: float) -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f} {unit}/s" if task.speed else "", style="dim")

    columns = (
        TextColumn("{task.description}", markup=False),  # folders and pages have names like "notes [/old]"
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}" if total else "{task.completed:,.0f}"),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as shown:
        task = shown.add_task(printable(title), total=total, note="")
        shown.update(task, completed=done)

        class RichBar:
            def advance(self, amount: float = 1, note: str | None = None) -> None:
                shown.advance(task, amount)
                if note is not None:
                    shown.update(task, note=printable(note))

        yield RichBar()


def clock(seconds: float) -> str:
    """Write a duration the way people read it: 0.4 s, 12 s, 3 min 05 s, 2 h 07 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{minutes} min {rest:02d} s" if hours == 0 else f"{hours} h {minutes_left:02d} min"


def size(count_bytes: float) -> str:
    """Write a size in the units of disks: 812 B, 4.1 kB, 3.2 MB, 1.8 GB."""
    value = float(count_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _count(number: float | None) -> str:
    return f"{number:,.0f}" if number is not None else "?"
