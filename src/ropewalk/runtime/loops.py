"""Coroutines to their end, from a thread in which a loop may run already, as in every notebook."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


def complete(main: Coroutine[Any, Any, T]) -> T:
    """What `asyncio.run` does, in a thread of its own where this one's loop is running: there it would refuse.

    An interrupt of the caller cancels `main` and waits until it has cleaned up, in either case.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main)

    tasks: list[asyncio.Task[T]] = []

    async def work() -> T:
        tasks.append(asyncio.current_task())  # pyright: ignore[reportArgumentType]  # never None in a coroutine
        return await main

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(asyncio.run, work())
        try:
            return done.result()
        except KeyboardInterrupt:
            with suppress(IndexError, RuntimeError):  # not begun, or at its end already
                tasks[0].get_loop().call_soon_threadsafe(tasks[0].cancel)
            raise
