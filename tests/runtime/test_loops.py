from __future__ import annotations

import asyncio
import signal
import threading
import time

import pytest

from ropewalk.runtime.loops import complete


async def _inside(call):
    return call()


@pytest.fixture(params=["no loop", "a loop runs"])
def from_here(request):
    """Call a function from a thread as it is, and from one whose loop is running, as a notebook's kernel runs it."""
    if request.param == "no loop":
        yield lambda call: call()
        return
    loop = asyncio.new_event_loop()
    yield lambda call: loop.run_until_complete(_inside(call))
    loop.close()


def test_a_result_or_an_error_comes_back(from_here):
    async def main(value):
        await asyncio.sleep(0)
        return 1 / value

    assert from_here(lambda: complete(main(2))) == 0.5
    with pytest.raises(ZeroDivisionError):
        from_here(lambda: complete(main(0)))


def test_an_interrupt_lets_it_clean_up(from_here):
    seen = []

    async def main():
        try:
            asyncio.get_running_loop().call_later(0.05, signal.pthread_kill, threading.main_thread().ident, signal.SIGINT)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            seen.append("cleaned up")

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        from_here(lambda: complete(main()))
    assert time.monotonic() - began < 30
    assert seen == ["cleaned up"]
