"""Worker processes that may die of a page without losing another one.

A worker answers page by page. Before each page it sets itself an alarm on processor time whose default action is death,
so a hang inside a C library ends by the kernel's hand, whatever the machine's load. When a worker dies, the parent knows
which page it had, and gives it to a fresh worker first: what killed the other may have been want of memory, or anybody's
SIGKILL. If that one dies of it too, the page gets a row saying so, and the next worker carries on behind it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from ropewalk.runtime.errors import MachineError

Task = TypeVar("Task")
Result = TypeVar("Result")
READY = "ready"


@dataclass(frozen=True)
class Batch(Generic[Task]):
    """Tasks handed to one worker together."""

    name: str
    tasks: list[Task]


@dataclass
class _Worker(Generic[Task, Result]):
    process: BaseProcess
    connection: Connection
    ready: bool = False
    batch: Batch[Task] | None = None
    results: list[Result] = field(default_factory=list)
    suspect: int | None = None  # the task of the batch that its predecessor died of


def map_batches(
    function: Callable[[Task], Result],
    batches: Iterable[Batch[Task]],
    *,
    workers: int,
    task_seconds: int,
    lost: Callable[[Task, str], Result],
    prepare: Callable[[], object] | None = None,
) -> Iterator[tuple[str, list[Result]]]:
    """Apply a picklable `function` to every task; yield each batch's results, in task order, as batches finish.

    lost: the result of a task that two workers died of; told "timeout" or "crash".
    prepare: called in a worker before its first task, which need not pay for it with its own seconds; picklable too.

    Raises:
        MachineError: workers cannot start.
    """
    context = multiprocessing.get_context("spawn")

    def start() -> _Worker[Task, Result]:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, function, task_seconds, prepare), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    waiting = iter(batches)
    team = [start() for _ in range(workers)]
    try:
        while team:
            for connection in wait([worker.connection for worker in team]):
                worker = next(member for member in team if member.connection is connection)
                if not _receive(worker):
                    team.remove(worker)
                    team.append(_replaced(worker, start, lost))
                    worker = team[-1]
                batch = worker.batch
                if batch is not None and len(worker.results) == len(batch.tasks):
                    yield batch.name, worker.results
                    worker.batch, worker.results, worker.suspect, batch = None, [], None, None
                if worker.ready and batch is None and not _give(worker, next(waiting, None)):
                    team.remove(worker)
                    _stop(worker)
    finally:
        for worker in team:
            _stop(worker)


def _receive(worker: _Worker) -> bool:
    """Take one answer from a worker; False if it died instead."""
    try:
        answer = worker.connection.recv()
    except (EOFError, OSError):
        return False
    if not worker.ready:
        assert answer == READY
        worker.ready = True
        if worker.batch is not None:
            _send(worker, worker.batch.tasks[len(worker.results) :])
    else:
        worker.results.append(answer)
    return True


def _give(worker: _Worker, batch: Batch | None) -> bool:
    if batch is None:
        return False
    worker.batch = batch
    _send(worker, batch.tasks)
    return True


def _send(worker: _Worker, tasks: list) -> None:
    # A worker that has died meanwhile: its end of the pipe will say so, and the batch goes to its successor.
    with contextlib.suppress(OSError):
        worker.connection.send(tasks)


def _replaced(dead: _Worker, start: Callable[[], _Worker], lost: Callable) -> _Worker:
    """Bury a worker; its successor inherits the batch, with a task answered that was fatal twice."""
    dead.process.join()
    dead.connection.close()
    if not dead.ready:
        raise MachineError(f"a worker process could not start (exit code {dead.process.exitcode}): see the lines above")
    successor = start()
    successor.batch, successor.results = dead.batch, dead.results
    at = len(dead.results)
    if dead.batch is not None and at < len(dead.batch.tasks):
        if dead.suspect == at:
            how = "timeout" if dead.process.exitcode == -signal.SIGPROF else "crash"
            successor.results.append(lost(dead.batch.tasks[at], how))
        else:
            successor.suspect = at
    return successor


def _stop(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.kill()
    worker.process.join()


def _work(connection: Connection, function: Callable, task_seconds: int, prepare: Callable[[], object] | None) -> None:
    """A worker's life. It ends with the parent: either end of a broken pipe is the signal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    if prepare is not None:
        prepare()
    connection.send(READY)
    parent = os.getppid()
    while os.getppid() == parent:
        try:
            tasks = connection.recv()
            for task in tasks:
                signal.setitimer(signal.ITIMER_PROF, task_seconds)
                result = function(task)
                signal.setitimer(signal.ITIMER_PROF, 0)
                connection.send(result)
        except (EOFError, BrokenPipeError):
            return
