"""Serve folders of HTML on loopback for the length of a crawl, so that local pages come in as all others do.

Only files that lie inside a folder are served, also after symbolic links are followed. A folder without an index.html
is listed; the listing asks robots not to keep it.
"""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from ropewalk.runtime.errors import InputError, MachineError, OptionError

LOOPBACK = "127.0.0.1"
ROOT = ""  # the name of a folder that is served as the whole host
MEDIA_TYPES = {
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "application/xhtml+xml",
    ".txt": "text/plain",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".gif": "image/gif",
    ".jpg": "image/jpeg",
}


def site_url(name: str, port: int) -> str:
    """The address at which the folder called `name` is served."""
    return f"http://{LOOPBACK}:{port}/" + (f"{name}/" if name else "")


def check_folders(folders: Mapping[str, str]) -> dict[str, Path]:
    """The folders to serve, resolved.

    Raises:
        OptionError: a name that cannot stand in an address. InputError: a folder that is not there.
    """
    checked = {}
    for name, folder in folders.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise OptionError(f"ropewalk crawl: serve has the name {name!r}: use letters, digits, '-' and '_'")
        path = Path(folder).expanduser()
        if not path.is_dir():
            hint = "install it with 'make docs-pages'" if folder.startswith("/usr/share/doc/") else "check the path"
            raise InputError(f"ropewalk crawl: there is no folder {folder} to serve as {name!r}: {hint}")
        checked[name] = path.resolve()
    return checked


@asynccontextmanager
async def serving(folders: Mapping[str, Path], port: int) -> AsyncIterator[None]:
    """Serve `folders` inside the block, each below its name, or one alone at the root.

    Raises:
        MachineError: the port is taken.
    """
    application = web.Application()

    async def answer(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in folders:
            raise web.HTTPNotFound
        return _answer(folders[name], request)

    async def answer_root(request: web.Request) -> web.StreamResponse:
        return _answer(folders[ROOT], request)

    if ROOT in folders:
        application.router.add_get("/{path:.*}", answer_root)
    else:
        application.router.add_get("/{name}{path:(/.*)?}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, LOOPBACK, port).start()
        except OSError as error:
            raise MachineError(
                f"cannot serve on {LOOPBACK}:{port} ({error.strerror or error}): "
                "stop what uses that port, or choose another with --serve-port"
            ) from None
        yield
    finally:
        await runner.cleanup()


def _answer(root: Path, request: web.Request) -> web.StreamResponse:
    wanted = request.match_info["path"]
    if not wanted and request.path != "/":
        raise web.HTTPMovedPermanently(request.path + "/")
    try:
        path = (root / wanted.lstrip("/")).resolve(strict=True)
    except (OSError, ValueError):  # not there, a loop of links, a null byte
        raise web.HTTPNotFound from None
    if not path.is_relative_to(root):
        raise web.HTTPNotFound
    if path.is_dir():
        if not request.path.endswith("/"):
            raise web.HTTPMovedPermanently(quote(request.path) + "/")
        index = path / "index.html"
        if not index.is_file():
            return web.Response(text=_listing(path), content_type="text/html")
        path = index.resolve()
        if not path.is_relative_to(root):
            raise web.HTTPNotFound
    if not path.is_file():
        raise web.HTTPNotFound
    media_type = MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")
    return web.FileResponse(path, headers={"Content-Type": media_type})


def _listing(folder: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir() if not path.name.startswith("."))
    items = "\n".join(f'<li><a href="./{html.escape(quote(name))}">{html.escape(name)}</a>' for name in names)
    return f'<!doctype html><meta charset="utf-8"><meta name="robots" content="noindex"><ul>\n{items}\n</ul>\n'
