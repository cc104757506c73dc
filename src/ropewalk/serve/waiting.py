"""Work for a client, for as long as it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

CLIENT_CLOSED_REQUEST = 499

T = TypeVar("T")


async def while_there(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """What the work gives; None if the client has gone before, and then the work is cancelled."""
    doing = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((doing, gone), return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        doing.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    """Come back when the client has gone. The guard has read the body, so nothing else is to come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
