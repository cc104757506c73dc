"""A web server for large files that gives ranges, or none, breaks off, or changes them: as its tests tell it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Files:
    """`files` maps paths to bytes; the rest is set by a test at any time.

    ranges: whether it gives ranges. if_range: whether it looks at If-Range. with_length: whether it says Content-Length.
    cut: says after how many bytes of an answer it hangs up; `stalled` holds it before it does.
    status: says what it answers instead of 200, by path and the number of the request for it.
    etag, modified: left out where empty. asked: path, Range and If-Range of every GET.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.ranges = self.if_range = self.with_length = True
        self.cut: Callable[[], int | None] = lambda: None
        self.status: Callable[[str, int], int] = lambda path, number: 200
        self.stalled = threading.Event()
        self.stalled.set()
        self.etag, self.modified = '"one"', ""
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.sent_bytes = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._head(200 if self.path in owner.files else 404, len(owner.files.get(self.path, b"")))

            def do_GET(self) -> None:
                owner.answer(self)

            def _head(self, status: int, length: int, content_range: str = "") -> None:
                self.send_response(status)
                if owner.with_length:
                    self.send_header("Content-Length", str(length))
                else:
                    self.close_connection = True
                self.send_header("Content-Type", "text/html")
                for name, value in {
                    "ETag": owner.etag,
                    "Last-Modified": owner.modified,
                    "Content-Range": content_range,
                }.items():
                    if value:
                        self.send_header(name, value)
                self.end_headers()

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):  # whoever asked was killed
                    super().handle()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, handler) -> None:
        asked, condition = handler.headers.get("Range"), handler.headers.get("If-Range")
        self.asked.append((handler.path, asked, condition))
        status = self.status(handler.path, sum(path == handler.path for path, *_ in self.asked))
        content = self.files.get(handler.path)
        if content is None or status != 200:
            handler._head(404 if content is None else status, 0)
            return
        start, end, content_range = 0, len(content), ""
        if asked and self.ranges and (condition in (None, self.etag, self.modified) or not self.if_range):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(end, int(last) + 1 if last else end)
            content_range = f"bytes {start}-{end - 1}/{len(content)}"
        if start >= len(content) and content_range:
            handler._head(416, 0, f"bytes */{len(content)}")
            return
        handler._head(206 if content_range else 200, end - start, content_range)
        cut = self.cut()
        part = content[start:end] if cut is None else content[start : min(end, start + cut)]
        self.sent_bytes += len(part)
        handler.wfile.write(part)
        if cut is not None:
            self.stalled.wait(60)
            handler.close_connection = True

    def close(self) -> None:
        self.stalled.set()
        self.server.shutdown()
        self.server.server_close()
