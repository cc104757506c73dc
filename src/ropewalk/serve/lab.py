"""Change the web, change the mind: facts of a model's Atlas are altered from the page, and its whole recipe is run anew.

The run is `ropewalk run` in a process of its own, with the altered facts and another folder. It takes minutes and both
cores, so there is one at a time, only where the server was started with --lab, and only on loopback. The new model is
served beside the old one until the server ends, also over a reload; its artifacts stay.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ropewalk.artifact import Artifact, is_artifact, open_artifact
from ropewalk.atlas.facts import World, load_world
from ropewalk.evaluate.lineage import ancestors, nearest
from ropewalk.runtime.errors import InputError, OptionError, RopewalkError
from ropewalk.serve.faults import Refusal
from ropewalk.serve.inside import shown_name
from ropewalk.serve.models import ServedModel, load_models
from ropewalk.trace.index import Index

CHANGED = "changed-"
MOST_CHANGES = 20
LAST_BYTES = 4_000  # of a log: where its last line is looked for

State = Literal["running", "finished", "failed", "stopped"]
Value = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,60}$")]


class ChangeBody(BaseModel):
    """POST /v1/lab: facts and their new values, as in {"France/capital": "Lyon"}."""

    model_config = ConfigDict(extra="forbid")

    changes: Annotated[
        dict[Annotated[str, StringConstraints(max_length=100)], Value], Field(min_length=1, max_length=MOST_CHANGES)
    ]


@dataclass
class Change:
    """A run with changed facts. model: the new one's name in the API, when it is served. said: why there is none."""

    folder: Path
    changes: Mapping[str, str]
    process: asyncio.subprocess.Process
    began: float = field(default_factory=time.monotonic)
    state: State = "running"
    seconds: float = 0.0
    model: str | None = None
    said: str = ""

    @property
    def log(self) -> Path:
        return self.folder.with_name(self.folder.name + ".log")

    def described(self) -> dict[str, Any]:
        """What the page is told. line: the last of the run's own."""
        return {
            "id": self.folder.name,
            "changes": dict(self.changes),
            "state": self.state,
            "seconds": round(self.seconds or time.monotonic() - self.began, 1),
            "line": _last_line(self.log),
            "model": self.model,
            "said": self.said,
        }


class Lab:
    """Runs with changed facts. Its methods are for the event loop, but `facts`.

    folder: where each gets a folder of its own. recipe: what is run. model, index: the artifacts that the recipe made; where
    it puts them in the new folder, the new ones are found.
    """

    def __init__(self, folder: Path, recipe: Path, *, model: Path, index: Path | None) -> None:
        """Check that the recipe leads from an Atlas to the model.

        Raises:
            OptionError: it does not, or the model comes from no Atlas. InputError: the recipe cannot be read.
        """
        self.folder, self.recipe, self.model, self.index = folder, recipe, model, index
        sections = _sections(recipe)
        self.section = next((name for name, stage in sections.items() if stage == "atlas"), "")
        made = (model, index) if index else (model,)
        missing = [path.name for path in made if path.resolve().name not in sections]
        if not self.section or missing:
            lacks = f"makes no {missing[0]!r}" if missing else "has no stage 'atlas'"
            raise OptionError(f"ropewalk serve: --lab-recipe {recipe} {lacks}: give the recipe that made {model}")
        self.site = _site(model)
        self.changes: list[Change] = []
        self._waiting: set[asyncio.Task[None]] = set()

    @cached_property
    def world(self) -> World:
        """The facts of the model's Atlas."""
        made = self.site.options
        return load_world(
            seed=made["seed"], held_out_fraction=made["held_out_fraction"], alter=made["alter"], remove=tuple(made["remove"])
        )

    def facts(self) -> list[dict[str, Any]]:
        """Countries, each with its facts by relation."""
        return [{"name": country.name, "facts": dict(country.facts)} for country in self.world.countries]

    async def begin(self, changes: Mapping[str, str], served: Callable[[dict[str, ServedModel]], Awaitable[None]]) -> Change:
        """Start the run. When it is finished, its model is loaded and given to `served`.

        Raises:
            Refusal: one is under way, or a fact is none of the Atlas'.
        """
        if any(change.state == "running" for change in self.changes):
            raise Refusal(409, "A model is being made already: wait for it, or stop it.", code="busy")
        known = {f"{one['name']}/{relation}" for one in await run_in_threadpool(self.facts) for relation in one["facts"]}
        for key in changes:
            if key not in known:
                raise Refusal(400, f"{key!r} is no fact of this Atlas.", param="changes")
        out = self.folder / f"{CHANGED}{self._next_number()}"
        out.mkdir(parents=True)
        with out.with_name(out.name + ".log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *self._command(out, changes),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        change = Change(out, changes, process)
        self.changes.append(change)
        waiting = asyncio.create_task(self._wait(change, served))
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)
        return change

    def named(self, name: str) -> Change:
        """The run of that name. Raises Refusal if there is none."""
        for change in self.changes:
            if change.folder.name == name:
                return change
        raise Refusal(404, "There is no such run here.", param="name")

    async def stop(self, change: Change) -> None:
        """End a run; what it has made so far stays, and `ropewalk run` would carry on."""
        if change.state == "running":
            change.state = "stopped"
            with suppress(ProcessLookupError):  # it may have ended in this very moment
                os.killpg(change.process.pid, signal.SIGTERM)
            await change.process.wait()

    async def close(self) -> None:
        """End whatever runs."""
        for change in self.changes:
            await self.stop(change)
        await asyncio.gather(*self._waiting)

    def _command(self, out: Path, changes: Mapping[str, str]) -> list[str]:
        made = self.site.options
        pairs = ", ".join(f"{_quoted(key)} = {_quoted(value)}" for key, value in {**made["alter"], **changes}.items())
        removed = ", ".join(map(_quoted, made["remove"]))
        return [
            sys.executable, "-m", "ropewalk", "run", str(self.recipe), "--into", str(out),
            "--set", f"{self.section}.alter={{{pairs}}}", "--set", f"{self.section}.remove=[{removed}]",
        ]  # fmt: skip

    def _next_number(self) -> int:
        standing = self.folder.iterdir() if self.folder.is_dir() else ()
        numbers = [int(found[1]) for path in standing if (found := re.fullmatch(rf"{CHANGED}(\d+)(\.log)?", path.name))]
        return max(numbers, default=0) + 1

    async def _wait(self, change: Change, served: Callable[[dict[str, ServedModel]], Awaitable[None]]) -> None:
        code = await change.process.wait()
        change.seconds = time.monotonic() - change.began
        if change.state == "stopped":
            return
        if code != 0:
            change.state, change.said = "failed", _last_line(change.log)
            return
        try:
            models = await run_in_threadpool(self._load, change.folder)
        except RopewalkError as error:
            change.state, change.said = "failed", f"{error}."
            return
        await served(models)
        [change.model] = models
        change.state = "finished"

    def _load(self, folder: Path) -> dict[str, ServedModel]:
        index = Index.open(folder / self.index.resolve().name) if self.index else None
        return load_models([folder / self.model.resolve().name], index, slots=2)


def lab_routes(lab: Lab | None, served: Callable[[dict[str, ServedModel]], Awaitable[None]]) -> APIRouter:
    """The routes: what may be changed and what became of it, a change, an end of it. `served` takes a new model in."""
    router = APIRouter()

    def here() -> Lab:
        if lab is None:
            raise Refusal(
                403, "Nothing is retrained here: start the server with --lab FOLDER --lab-recipe RECIPE.", code="no_lab"
            )
        return lab

    async def look() -> dict[str, Any]:
        countries = await run_in_threadpool(here().facts)
        model = shown_name(here().model)
        return {"object": "lab", "model": model, "countries": countries, "changes": _all(here())}

    async def changes() -> dict[str, Any]:
        return {"object": "list", "data": _all(here())}

    async def begin(body: ChangeBody) -> dict[str, Any]:
        return (await here().begin(body.changes, served)).described()

    async def stop(name: str) -> dict[str, Any]:
        change = here().named(name)
        await here().stop(change)
        return change.described()

    router.add_api_route("/v1/lab", look, methods=["GET"])
    router.add_api_route("/v1/lab", begin, methods=["POST"])
    router.add_api_route("/v1/lab/changes", changes, methods=["GET"])
    router.add_api_route("/v1/lab/changes/{name}", stop, methods=["DELETE"])
    return router


def _all(lab: Lab) -> list[dict[str, Any]]:
    return [change.described() for change in reversed(lab.changes)]


def _sections(recipe: Path) -> dict[str, Any]:
    """The stage of each section of a recipe; `ropewalk run` checks the rest."""
    try:
        table = tomllib.loads(recipe.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{recipe} cannot be read ({error}): give a recipe") from None
    return {name: section.get("stage") for name, section in table.items() if isinstance(section, dict)}


def _site(model: Path) -> Artifact:
    found = nearest(ancestors(open_artifact(model, "model"))[0], "site") if is_artifact(model) else None
    if found is None:
        raise OptionError(f"ropewalk serve: --lab: {model} comes from no Atlas, or from one that is gone: make it anew")
    return found


def _quoted(text: str) -> str:
    """A string of TOML; there are no control characters in it."""
    return json.dumps(text, ensure_ascii=False)


def _last_line(log: Path) -> str:
    """The last line of a log that says something; empty before there is one."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LAST_BYTES))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
    return next((line[:300] for line in reversed(lines) if line), "")
