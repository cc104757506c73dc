"""A thread that owns an engine, and hands its tokens to asyncio.

The event loop never waits for the model: it puts commands into a queue, which the thread obeys between two steps, and each
step's tokens come back in one callback.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from fastapi.concurrency import run_in_threadpool

from ropewalk.engine.engine import Engine, Token
from ropewalk.engine.sampling import Sampling
from ropewalk.serve.faults import Refusal
from ropewalk.serve.metrics import Clock, ModelMetrics

EMPTY_POLL_SECONDS = 0.05


class Ticket:
    """What one client waits for: some texts, called choices and counted from 0. Lives on the event loop."""

    def __init__(self, runner: Runner, numbers: Sequence[int]) -> None:
        self._runner = runner
        self._running = {number: choice for choice, number in enumerate(numbers)}
        self._arrived: asyncio.Queue[Token | None] = asyncio.Queue()

    def put(self, token: Token | None) -> None:
        """Take in a token; None for the end of the engine."""
        self._arrived.put_nowait(token)

    async def tokens(self) -> AsyncIterator[tuple[int, Token]]:
        """Each token with its choice, until all have ended.

        Raises:
            Refusal: the engine has stopped.
        """
        while self._running:
            token = await self._arrived.get()
            if token is None:
                raise Refusal(500, "The model has stopped: look at the server's terminal, and start it again.")
            choice = self._running[token.request]
            if token.finish is not None:
                self._runner.forget(token.request)
                del self._running[token.request]
            yield choice, token

    def cancel(self) -> None:
        """Stop what has not ended; its slots are free for the engine's next step."""
        for number in self._running:
            self._runner.cancel(number)
        self._running.clear()


class Runner:
    """The thread. All methods are for the event loop that called `start`.

    most_waiting: requests beyond the engine's slots that may wait for one.
    """

    def __init__(self, engine: Engine, metrics: ModelMetrics, *, most_waiting: int) -> None:
        self.engine, self.metrics = engine, metrics
        self._most = engine.slots + most_waiting
        self._numbers = itertools.count()
        self._coming = 0  # submissions that are being looked at
        self._tickets: dict[int, tuple[Ticket, Clock]] = {}
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.works = True  # until the thread has ended, as the event loop was told

    @property
    def in_flight(self) -> int:
        """Requests that run or wait."""
        return len(self._tickets)

    def start(self) -> None:
        """Begin to serve the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def empty(self) -> None:
        """Wait until all requests have ended."""
        while (self._coming or self._tickets) and self.works:
            await asyncio.sleep(EMPTY_POLL_SECONDS)

    def stop(self) -> None:
        """End the thread after its present step."""
        self._commands.put(None)
        self._thread.join()

    async def submit(self, asked: Sequence[tuple[Sequence[int], Sampling]]) -> Ticket:
        """Ask for one text for each prompt and sampling.

        Raises:
            InputError, MachineError: as `Engine.check`.
            Refusal: too many are asked for at once, too many wait already, or the engine has stopped.
        """
        self._coming += 1
        try:
            await run_in_threadpool(self._check, asked)
        finally:
            self._coming -= 1
        if not self.works:
            raise Refusal(503, "The model has stopped: look at the server's terminal, and start it again.")
        if len(asked) > self._most:
            raise Refusal(400, f"{len(asked)} texts are asked for, {self._most} can run and wait at most: ask for fewer.")
        if len(self._tickets) + len(asked) > self._most:
            raise Refusal(
                429,
                f"{len(self._tickets)} answers are being written or waited for: try again in a moment.",
                code="queue_full",
            )
        numbers = [next(self._numbers) for _ in asked]
        ticket = Ticket(self, numbers)
        for number, (prompt, sampling) in zip(numbers, asked, strict=True):
            self._tickets[number] = ticket, self.metrics.begun(prompt)
            self._commands.put(partial(self.engine.submit, number, prompt, sampling))
        return ticket

    def cancel(self, number: int) -> None:
        """Stop a request."""
        self.forget(number)
        self.metrics.aborted()
        self._commands.put(partial(self.engine.cancel, number))

    def forget(self, number: int) -> None:
        """Take no more tokens of a request."""
        self._tickets.pop(number, None)

    def _check(self, asked: Sequence[tuple[Sequence[int], Sampling]]) -> None:
        """Let the engine refuse what it cannot run: in a thread, for a grammar that is new to it takes a while to read."""
        for prompt, sampling in asked:
            self.engine.check(prompt, sampling)

    def _work(self) -> None:
        assert self._loop is not None
        try:
            while self._obey():
                tokens = self.engine.step()
                if tokens:
                    self._loop.call_soon_threadsafe(self._deliver, tokens)
        finally:
            self._loop.call_soon_threadsafe(self._deliver_end)

    def _obey(self) -> bool:
        """Do what was commanded since; with nothing to do, wait for something. False to end."""
        while True:
            try:
                command = self._commands.get(block=self.engine.idle)
            except queue.Empty:
                return True
            if command is None:
                return False
            command()

    def _deliver(self, tokens: Sequence[Token]) -> None:
        for token in tokens:
            if token.request in self._tickets:
                ticket, clock = self._tickets[token.request]
                self.metrics.made(token, clock)
                ticket.put(token)

    def _deliver_end(self) -> None:
        self.works = False
        for ticket in {ticket for ticket, _ in self._tickets.values()}:
            ticket.put(None)
        self._tickets.clear()
