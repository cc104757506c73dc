"""`ropewalk serve`: load the models, open the port, answer until Ctrl-C."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from ropewalk.runtime.errors import MachineError, OptionError, RopewalkError
from ropewalk.runtime.progress import say
from ropewalk.serve import ServeOptions
from ropewalk.serve.app import Service, make_app
from ropewalk.serve.conversations import Conversations
from ropewalk.serve.feedback import Store
from ropewalk.serve.keys import Keys
from ropewalk.serve.lab import Lab
from ropewalk.serve.models import ServedModel, load_models, named_folders
from ropewalk.serve.upstream import Upstream, find_upstream
from ropewalk.trace.index import Index


def serve(options: ServeOptions) -> None:
    """Serve until Ctrl-C or SIGTERM, then finish what is under way. SIGHUP looks for new models at the same paths."""
    if not options.models and not options.upstream:
        raise OptionError("ropewalk serve: give at least one model with --models, or a server that has some with --upstream")
    if options.adapters and not options.models:
        raise OptionError("ropewalk serve: --adapters goes with --models, whose first one they belong to")
    if options.upstream_folders and not options.upstream:
        raise OptionError("ropewalk serve: --upstream-folders goes with --upstream")
    loopback = is_loopback(options.host)
    if not loopback and options.keys is None:
        raise OptionError(
            f"ropewalk serve: --host {options.host} can be reached from other machines: give --keys, a file that "
            "'ropewalk keys add' makes, or leave the host at 127.0.0.1"
        )
    if (options.lab is None) != (options.lab_recipe is None):
        raise OptionError("ropewalk serve: --lab and --lab-recipe go together")
    if options.lab is not None and not (loopback and options.models):
        raise OptionError(
            "ropewalk serve: --lab retrains the first of --models, and only where no other machine can ask for it"
        )
    keys = Keys(options.keys) if options.keys else None
    with ExitStack() as held:
        opened = held.enter_context(listening(options.host, options.port))
        index = held.enter_context(Index.open(options.index)) if options.index else None
        feedback = held.enter_context(closing(Store(options.feedback, create=True))) if options.feedback else None
        conversations = held.enter_context(closing(Conversations(options.chats)))
        upstream = find_upstream(options, index) if options.upstream else None
        lab = None
        if options.lab is not None and options.lab_recipe is not None:
            lab = Lab(options.lab, options.lab_recipe, model=options.models[0], index=options.index)
        load = partial(
            load_models,
            options.models,
            index,
            slots=options.slots,
            precision=options.precision,
            guess_tokens=options.guess_tokens,
            compiling=options.compile,
            adapters=named_folders(options.adapters),
        )
        models = load()
        if upstream is not None and (twice := sorted(models.keys() & upstream.models.keys())):
            raise OptionError(
                f"two models are called {twice[0]!r}, here and at {upstream.shown}: give the folder another name"
            )
        service = Service(
            models,
            most_waiting=options.queue,
            most_tokens=options.most_tokens,
            starters=options.starters,
            feedback=feedback,
            load=lambda standing: load(standing=standing),
            runs=options.runs,
            upstream=upstream,
            lab=lab,
            conversations=conversations,
            runs_code=options.run_code,
        )
        hosts = frozenset({"127.0.0.1", "localhost", "[::1]", options.host.lower()}) if loopback else None
        app = make_app(service, hosts=hosts, keys=keys)
        app.router.lifespan_context = partial(_reloading, service)
        config = uvicorn.Config(
            app, log_level="warning", server_header=False, timeout_graceful_shutdown=options.drain_seconds, ws="none"
        )
        _announce(opened, models, upstream, feedback=options.feedback)
        uvicorn.Server(config).run(sockets=[opened])


@asynccontextmanager
async def _reloading(service: Service, app: FastAPI) -> AsyncIterator[None]:
    """Run the service; on SIGHUP, reload."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, asked.set)

    async def watch() -> None:
        while True:
            await asked.wait()
            asked.clear()
            try:
                news = await service.reload()
            except RopewalkError as error:
                say(f"Nothing is reloaded: {error}")
                continue
            say(f"Reloaded: {', '.join(news)}" if news else "Nothing to reload: the models are the same.")

    async with service.running(app):
        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()
            loop.remove_signal_handler(signal.SIGHUP)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address or name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        MachineError: the port is taken or not ours to take.
        OptionError: there is no such address on this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise MachineError(f"port {port} is in use: stop what listens there, or give another --port") from None
        if error.errno == errno.EACCES:
            raise MachineError(f"port {port} needs more rights than you have: give a --port above 1023") from None
        raise OptionError(f"ropewalk serve: --host {host} is no address of this machine ({error.strerror})") from None


def _announce(
    opened: socket.socket, models: dict[str, ServedModel], upstream: Upstream | None, *, feedback: Path | None
) -> None:
    host, port = opened.getsockname()[:2]
    for model in models.values():
        traced = "" if model.index else f"; {model.untraceable}"
        say(f"{model.label}: {model.parameters:,} parameters, {model.digest[:12]}{traced}")
    if upstream is not None:
        for name, model in upstream.models.items():
            say(f"{name}, at {upstream.shown}; {model.untraceable or 'answers are looked for in the index'}")
    if feedback is not None:
        say(f"Answers that people judge are kept in {feedback}, with their conversations")
    say("Answers may be wrong. Ctrl-C ends the server.")
    print(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}", flush=True)
