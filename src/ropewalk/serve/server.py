"""`ropewalk serve`: load the models, open the port, answer until Ctrl-C."""

from __future__ import annotations

import errno
import ipaddress
import socket
from contextlib import ExitStack

import uvicorn

from ropewalk.runtime.errors import MachineError, OptionError
from ropewalk.runtime.progress import say
from ropewalk.serve import ServeOptions
from ropewalk.serve.app import Service, make_app
from ropewalk.serve.models import ServedModel, load_models
from ropewalk.trace.index import Index

FAREWELL_SECONDS = 3  # how long answers under way may take after Ctrl-C


def serve(options: ServeOptions) -> None:
    """Serve until Ctrl-C or SIGTERM; then finish what is under way, for three seconds at most."""
    if not options.models:
        raise OptionError("ropewalk serve: give at least one model with --models")
    loopback = is_loopback(options.host)
    if not loopback and not options.api_key:
        raise OptionError(
            f"ropewalk serve: --host {options.host} can be reached from other machines: "
            "give an --api-key for them to know, or leave the host at 127.0.0.1"
        )
    with ExitStack() as held:
        opened = held.enter_context(listening(options.host, options.port))
        index = held.enter_context(Index.open(options.index)) if options.index else None
        models = load_models(options.models, index, slots=options.slots)
        service = Service(models, most_waiting=options.queue, starters=options.starters)
        hosts = frozenset({"127.0.0.1", "localhost", "[::1]", options.host.lower()}) if loopback else None
        app = make_app(service, hosts=hosts, api_key=options.api_key)
        config = uvicorn.Config(
            app, log_level="warning", server_header=False, timeout_graceful_shutdown=FAREWELL_SECONDS, ws="none"
        )
        _announce(opened, models)
        uvicorn.Server(config).run(sockets=[opened])


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


def _announce(opened: socket.socket, models: dict[str, ServedModel]) -> None:
    host, port = opened.getsockname()[:2]
    for model in models.values():
        traced = "" if model.index else f"; {model.untraceable}"
        say(f"{model.label}: {model.parameters:,} parameters, {model.digest[:12]}{traced}")
    say("Answers may be wrong. Ctrl-C ends the server.")
    print(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}", flush=True)
