"""What every request passes before it reaches a route, and every response on its way out."""

from __future__ import annotations

import asyncio
import math

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ropewalk.serve.faults import fault
from ropewalk.serve.keys import Keys, Rates
from ropewalk.serve.looking import PAGES
from ropewalk.serve.metrics import Metrics

MOST_BODY_BYTES = 256_000
BODY_SECONDS = 30.0  # a client that sends its body drop by drop holds a connection no longer
# What asks for no key: pages, which ask the API for all that they show, and whether the server works. All else does.
OPEN = ("/", "/tokens", "/health", "/starters", *(f"/{name}" for name in PAGES))
OPEN_BELOW = ("/page/", "/pages/", "/reports/")
FOR_ADMINS = ("/metrics", "/v1/admin/", "/v1/lab")

# The page loads nothing from elsewhere, and nothing in it is ever run or framed but our own files.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}


class Guard:
    """ASGI middleware.

    hosts: names by which this server may be called; others are refused, or a foreign page could give its own name our
        address (DNS rebinding) and read the answers. None for any.
    keys: one of these is asked for as a bearer's token; None for nothing, and everybody is an admin. No cookie ever tells
        who somebody is, so a foreign page cannot have a browser ask in its user's name.
    metrics: where responses are counted.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] | None, keys: Keys | None, metrics: Metrics) -> None:
        self.app, self.hosts, self.keys, self.metrics = app, hosts, keys, metrics
        self.rates = Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    told.setdefault(name, value)  # a report has a policy of its own
                path = getattr(scope.get("route"), "path", "")  # a route's own, or every address would be a new series
                self.metrics.responses.labels(path or "other", message["status"]).inc()
            await send(message)

        headers = Headers(scope=scope)
        refused = self._refused(scope["path"], headers)
        if refused is not None:
            await refused(scope, receive, send_guarded)
            return
        try:
            body = await asyncio.wait_for(_read(receive, headers), BODY_SECONDS)
        except TimeoutError:
            too_slow = fault(408, f"The request did not come within {BODY_SECONDS:.0f} seconds: send it at once.")
            await too_slow(scope, receive, send_guarded)
            return
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
        if self.keys is None or path in OPEN or path.startswith(OPEN_BELOW):
            return None
        return self._unauthorised(self.keys, path, headers)

    def _unauthorised(self, keys: Keys, path: str, headers: Headers) -> JSONResponse | None:
        """What to answer a client whose key does not open this, or is used too often."""
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        key = keys.of(secret.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            return fault(401, "Give a key of this server's as 'Authorization: Bearer KEY'.", code="invalid_api_key")
        if waiting_seconds := self.rates.wait_seconds(key):
            retry_seconds = math.ceil(waiting_seconds)
            said = f"This key may ask {key.requests_per_minute:,} times a minute: wait {retry_seconds} s."
            return fault(429, said, code="rate_limit_exceeded", retry_seconds=retry_seconds)
        if key.role != "admin" and path.startswith(FOR_ADMINS):
            return fault(403, "This is for admins: ask with a key whose role is admin.", code="not_an_admin")
        return None


def _name(host: str) -> str:
    """A Host header without its port, in small letters."""
    bracket = host.rfind("]")
    colon = host.find(":", bracket + 1)
    return (host if colon < 0 else host[:colon]).lower()


async def _read(receive: Receive, headers: Headers) -> bytes | None:
    """The body, or None if it is too large."""
    declared = headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > MOST_BODY_BYTES:
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
