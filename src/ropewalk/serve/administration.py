"""The routes for admins, which a user's key does not open: new models, and what people said. `/metrics` is theirs too."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from fastapi import APIRouter, Response

from ropewalk.runtime.errors import RopewalkError
from ropewalk.serve.faults import Refusal
from ropewalk.serve.judging import Judging


def admin_routes(reload: Callable[[], Awaitable[list[str]]], judging: Judging) -> APIRouter:
    """The routes, under /v1/admin."""
    router = APIRouter(prefix="/v1/admin")

    @router.post("/reload")
    async def take_new_models() -> dict[str, Any]:
        """POST /v1/admin/reload: what SIGHUP does."""
        try:
            return {"object": "reload", "reloaded": await reload()}
        except RopewalkError as error:
            raise Refusal(409, f"Nothing is reloaded: {error}.") from None

    @router.get("/feedback/{name}", response_class=Response)
    async def export_feedback(name: Literal["preferences", "thumbs"]) -> Response:
        """GET /v1/admin/feedback/preferences and /thumbs: what `ropewalk feedback export` writes, nothing held out."""
        rows = await judging.exported()
        chosen = {"preferences": rows.preferences, "thumbs": rows.thumbs}[name]
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)
        return Response("".join(lines), media_type="application/jsonl")

    return router
