"""What every request passes before it reaches a route, and every response on its way out."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ropewalk.serve.faults import fault

MOST_BODY_BYTES = 256_000

# The page loads nothing from elsewhere, and nothing in it is ever run or framed but our own files.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class Guard:
    """ASGI middleware.

    hosts: names by which this server may be called; others are refused, or a foreign page could give its own name our
        address (DNS rebinding) and read the answers. None for any.
    api_key: what /v1/ asks for as a bearer's token; empty for nothing.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] | None, api_key: str) -> None:
        self.app, self.hosts, self.api_key = app, hosts, api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        refused = self._refused(scope["path"], headers)
        if refused is not None:
            await refused(scope, receive, send_guarded)
            return
        body = await _read(receive, headers)
        if body is None:
            too_big = fault(413, f"The request is larger than {MOST_BODY_BYTES:,} bytes: shorten it.", code="too_large")
            await too_big(scope, receive, send_guarded)
            return
        await self.app(scope, _replaying(body, receive), send_guarded)

    def _refused(self, path: str, headers: Headers) -> JSONResponse | None:
        """What to answer instead of passing the request on."""
        host = headers.get("host", "")
        if self.hosts is not None and _name(host) not in self.hosts:
            return fault(403, f"This server is not called {host!r}: use the address that it printed when it started.")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return fault(403, "Pages of other sites may not ask this server.")
        if self.api_key and path.startswith("/v1/"):
            given = headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self.api_key.encode()):
                return fault(401, "Give the server's key as 'Authorization: Bearer KEY'.", code="invalid_api_key")
        return None


def _name(host: str) -> str:
    """A Host header without its port, in small letters."""
    bracket = host.rfind("]")
    colon = host.find(":", bracket + 1)
    return (host if colon < 0 else host[:colon]).lower()


async def _read(receive: Receive, headers: Headers) -> bytes | None:
    """The body, or None if it is too large."""
    declared = headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > MOST_BODY_BYTES:
        return None
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MOST_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Give the body again, then whatever the connection brings: its end."""
    waiting = [body]

    async def replay() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return replay
