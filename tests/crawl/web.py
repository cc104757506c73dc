"""A web server that tests fill with pages, good and hostile, and that counts what it is asked for."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HTML = {"Content-Type": "text/html; charset=utf-8"}


@dataclass
class Reply:
    """One answer. seconds: slept before the body's last byte. raw: bytes sent instead of any HTTP."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: dict(HTML))
    seconds: float = 0.0
    raw: bytes | None = None


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # the standard 5 drops connections of a concurrent crawler, which then wait a second


class Web:
    """`pages` maps a path to a Reply, or to a function that makes one from the number of the request for it."""

    def __init__(self, pages: dict[str, Reply | Callable[[int], Reply]] | None = None) -> None:
        self.pages = pages or {}
        self.asked: list[tuple[float, str]] = []
        self.agents: set[str] = set()
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web.asked.append((time.monotonic(), self.path))
                web.agents.add(self.headers["User-Agent"])
                page = web.pages.get(self.path, Reply(b"nothing here", 404))
                web.answer(self, page(web.count(self.path)) if callable(page) else page)

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):  # a crawler hangs up as soon as it has seen enough
                    super().handle()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        try:
            if reply.raw is not None:
                handler.wfile.write(reply.raw)
                handler.close_connection = True
                return
            handler.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                handler.send_header(name, value)
            handler.end_headers()
            if reply.seconds:
                handler.wfile.write(reply.body[:-1])
                handler.wfile.flush()
                time.sleep(reply.seconds)
                handler.wfile.write(reply.body[-1:])
            else:
                handler.wfile.write(reply.body)
        except OSError:  # the crawler has seen enough
            handler.close_connection = True

    def count(self, path: str) -> int:
        return sum(asked == path for _, asked in self.asked)

    def paths(self) -> list[str]:
        """Every path asked for, robots.txt aside, in order."""
        return [path for _, path in self.asked if path != "/robots.txt"]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def linking(*links: str, text: str = "") -> Reply:
    """A page that links to `links`."""
    anchors = "".join(f'<p><a href="{link}">{link}</a>' for link in links)
    return Reply(f"<!doctype html><title>{text}</title>{anchors}<p>{text}".encode())
