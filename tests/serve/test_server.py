"""`ropewalk serve` as a process: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from tests.serve.world import STARTERS

from ropewalk.runtime.errors import MachineError, OptionError
from ropewalk.serve import ServeOptions
from ropewalk.serve.server import serve


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_says_where_it_is_and_ends_in_good_order(world, stop, code):
    options = ("--models", world.model, "--index", world.index, "--port", "0", "--starters", *STARTERS)
    arguments = [sys.executable, "-m", "ropewalk", "serve", *map(str, options)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{address}/health", timeout=30) as response:
            assert response.status == 200
        process.send_signal(stop)
        _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert "home/model: 98,368 parameters" in said
    assert "Traceback" not in said


def test_a_port_in_use_is_one_sentence(world):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MachineError, match=f"port {port} is in use: .* give another --port"):
            serve(ServeOptions(models=(world.model,), port=port))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org", "192.0.2.1", ""])
def test_other_machines_need_a_key(world, host):
    with pytest.raises(OptionError, match="--api-key"):
        serve(ServeOptions(models=(world.model,), host=host))


def test_an_address_that_is_not_ours_is_one_sentence(world):
    with pytest.raises(OptionError, match="no address of this machine"):
        serve(ServeOptions(models=(world.model,), host="192.0.2.1", port=0, api_key="secret"))


def test_two_models_of_one_name_are_refused(world):
    with pytest.raises(OptionError, match="two models are called"):
        serve(ServeOptions(models=(world.model, world.model), port=0))


def test_no_model_is_refused():
    with pytest.raises(OptionError, match="at least one model"):
        serve(ServeOptions(models=(), port=0))
