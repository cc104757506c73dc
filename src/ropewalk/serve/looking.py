"""The routes of the pages that look inside: next tokens, the corpus' funnel, training, lineage, the report."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from ropewalk.runtime.errors import ArtifactError
from ropewalk.serve.branches import NextBody, next_tokens, next_tokens_upstream
from ropewalk.serve.faults import Refusal
from ropewalk.serve.inside import PART, REPORT, described_run, funnel_of, lineage_of, reports, rows_of, shown_name, trained
from ropewalk.serve.models import ServedModel
from ropewalk.serve.templates import template

if TYPE_CHECKING:
    from ropewalk.serve.app import Service

P = ParamSpec("P")
T = TypeVar("T")

# The pages, by address: each is the same frame with a script that fills it.
PAGES = {
    "explore": "What comes next",
    "funnel": "From pages to the corpus",
    "training": "Training",
    "lineage": "Where a model comes from",
    "report": "The report",
    "lab": "Change the web, change the mind",
}
# A report brings its own styles. It runs nothing, loads nothing, and only our own page may frame it.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox"
)


class Looking:
    """What there is to see; the methods are the routes. named: the model of a name, or the first."""

    def __init__(self, service: Service, named: Callable[[str | None], ServedModel]) -> None:
        self.service, self._named = service, named

    async def next(self, body: NextBody) -> dict[str, Any]:
        """POST /v1/next: the most probable tokens behind a text."""
        if elsewhere := self.service.elsewhere.get(body.model):
            return await next_tokens_upstream(elsewhere, body)
        model = self._named(body.model)
        return await next_tokens(model, self.service.runners[model.id], body)

    async def lineage(self, model: str | None = None) -> dict[str, Any]:
        """GET /v1/lineage: the artifacts behind the model named, or the first."""
        return await _told(lineage_of, self._named(model))

    async def funnel(self, model: str | None = None) -> dict[str, Any]:
        """GET /v1/funnel: what became of the pages on their way to the model named, or the first."""
        return await _told(funnel_of, self._named(model))

    async def runs(self) -> dict[str, Any]:
        """GET /v1/runs: trainings, finished and under way."""
        found = await _told(self._trained)
        return {"object": "list", "data": [await _told(described_run, name, path) for name, path in found.items()]}

    async def run(self, name: str, after: int = 0) -> dict[str, Any]:
        """GET /v1/runs/{name}: a training's rows behind row number `after`; finished meanwhile, it has another name."""
        found = await _told(self._trained)
        name = name if name in found else name.removesuffix(PART)
        if name not in found:
            raise Refusal(404, f"There is no training {name!r} here: take one that /v1/runs lists.", param="name")
        return await _told(rows_of, name, found[name], after)

    async def reports(self) -> dict[str, Any]:
        """GET /v1/reports: the reports there are, and their addresses."""
        found = await _told(reports, self.service.folders)
        shown = [{"id": shown_name(one.path), "href": f"/reports/{one.digest}"} for one in found]
        return {"object": "list", "data": shown}

    async def report(self, digest: str) -> HTMLResponse:
        """GET /reports/{digest}: a report as it was written. Its address is a hash that only /v1/reports tells."""
        found = await _told(reports, self.service.folders)
        for one in found:
            if one.digest == digest:
                page = (one.path / REPORT).read_text(encoding="utf-8")
                return HTMLResponse(page, headers={"Content-Security-Policy": REPORT_POLICY})
        raise Refusal(404, "There is no such report here: take one that /v1/reports lists.", param="digest")

    def _trained(self) -> dict[str, Path]:
        return trained(list(self.service.models.values()), self.service.folders)


async def _told(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do work in a thread; what is wrong with an artifact is told."""
    try:
        return await run_in_threadpool(work, *args, **kwargs)
    except ArtifactError as error:
        raise Refusal(409, f"This cannot be shown: {error}.") from None


def look_routes(service: Service, named: Callable[[str | None], ServedModel]) -> APIRouter:
    """Put the methods and the pages under their addresses."""
    looking, router = Looking(service, named), APIRouter()
    router.add_api_route("/v1/next", looking.next, methods=["POST"])
    router.add_api_route("/v1/lineage", looking.lineage, methods=["GET"])
    router.add_api_route("/v1/funnel", looking.funnel, methods=["GET"])
    router.add_api_route("/v1/runs", looking.runs, methods=["GET"])
    router.add_api_route("/v1/runs/{name:path}", looking.run, methods=["GET"])
    router.add_api_route("/v1/reports", looking.reports, methods=["GET"])
    router.add_api_route("/reports/{digest}", looking.report, methods=["GET"], response_class=HTMLResponse)
    for name, title in PAGES.items():
        router.add_api_route(
            f"/{name}", _shows(name, title), methods=["GET"], response_class=HTMLResponse, include_in_schema=False
        )
    return router


def _shows(name: str, title: str) -> Callable[[], Awaitable[HTMLResponse]]:
    async def show() -> HTMLResponse:
        return HTMLResponse(template("inside").render(name=name, title=title))

    return show
