"""`ropewalk serve` as a process: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from tests.cli.command import ropewalk
from tests.engine.small import write_folder
from tests.serve.asking import ask, until
from tests.serve.world import STARTERS

from ropewalk.runtime.errors import InputError, MachineError, OptionError
from ropewalk.serve import AddKeyOptions, ServeOptions
from ropewalk.serve.keys import add_key
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


@contextmanager
def process_of(*options):
    """A server of its own, and its address. The caller ends it."""
    arguments = [sys.executable, "-m", "ropewalk", "serve", "--port", "0", *map(str, options)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def begin_stream(address, **body):
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    asked = {"model": "small", "prompt": "x", "max_tokens": 900, "stream": True, "logit_bias": {"97": 100}, **body}
    connection.request("POST", "/v1/completions", json.dumps(asked), {"Content-Type": "application/json"})
    return connection.getresponse()


def test_sigterm_lets_answers_be_finished(tmp_path):
    folder = write_folder(tmp_path / "small", context_tokens=1024)
    with process_of("--models", folder) as (process, address):
        response = begin_stream(address)
        assert response.readline().startswith(b"data: ")
        process.send_signal(signal.SIGTERM)
        with pytest.raises(OSError):  # nobody new is let in
            until(lambda: socket.create_connection(urlsplit(address).netloc.split(":"), timeout=1).close())
        events = response.read().decode().strip().split("\n\n")
        assert events[-1] == "data: [DONE]"
        assert sum('"a"' in event for event in events) > 800
        process.wait(timeout=30)
        assert process.returncode == 143
        assert "Traceback" not in process.stderr.read()


def test_answers_that_take_too_long_to_finish_are_ended(tmp_path):
    folder = write_folder(tmp_path / "small", context_tokens=8192)
    with process_of("--models", folder, "--drain-seconds", "1") as (process, address):
        response = begin_stream(address, max_tokens=8000)
        assert response.readline().startswith(b"data: ")
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        assert time.monotonic() - started < 20
        assert process.returncode == 143


def test_sighup_takes_the_new_model_and_keeps_the_old_one_where_that_is_broken(tmp_path):
    folder = write_folder(tmp_path / "small", context_tokens=128)
    new = write_folder(tmp_path / "new", context_tokens=256)

    def context_tokens(address):
        return ask(address, "/v1/models/small")[1]["context_tokens"]

    with process_of("--models", folder) as (process, address):
        assert context_tokens(address) == 128
        for name in ("config.json", "model.safetensors"):
            shutil.copyfile(new / name, folder / name)
        process.send_signal(signal.SIGHUP)
        until(lambda: context_tokens(address) == 256, seconds=60)
        (folder / "config.json").write_text("{")
        process.send_signal(signal.SIGHUP)
        while "Nothing is reloaded: " not in (line := process.stderr.readline()):
            assert line
        assert ask(address, "/v1/completions", {"model": "small", "prompt": "x", "max_tokens": 1})[0] == 200


def test_a_key_opens_until_it_is_removed_and_new_ones_do_without_a_restart(tmp_path):
    folder, keys = write_folder(tmp_path / "small"), tmp_path / "keys.jsonl"

    def status(key):
        return ask(address, "/v1/models", Authorization=f"Bearer {key}")[0]

    first = ropewalk("keys", "add", "--keys", keys, "--name", "first").stdout.strip()
    with process_of("--models", folder, "--keys", keys) as (_, address):
        assert ask(address, "/v1/models")[0] == 401
        assert status(first) == 200
        second = ropewalk("keys", "add", "--keys", keys, "--name", "second").stdout.strip()
        assert (status(first), status(second)) == (200, 200)
        assert ropewalk("keys", "remove", "--keys", keys, "--name", "first").returncode == 0
        assert (status(first), status(second)) == (401, 200)


def test_a_server_needs_a_key_in_its_file(tmp_path):
    keys = tmp_path / "keys.jsonl"
    with pytest.raises(InputError, match="make a key with 'ropewalk keys add"):
        serve(ServeOptions(models=(tmp_path,), keys=keys))
    keys.write_text("")
    with pytest.raises(InputError, match="holds no key"):
        serve(ServeOptions(models=(tmp_path,), keys=keys))


def test_a_port_in_use_is_one_sentence(world):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MachineError, match=f"port {port} is in use: .* give another --port"):
            serve(ServeOptions(models=(world.model,), port=port))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org", "192.0.2.1", ""])
def test_other_machines_need_a_key(world, host):
    with pytest.raises(OptionError, match="give --keys, a file that 'ropewalk keys add' makes"):
        serve(ServeOptions(models=(world.model,), host=host))


def test_an_address_that_is_not_ours_is_one_sentence(world, tmp_path):
    add_key(AddKeyOptions(keys=tmp_path / "keys.jsonl", name="anna"))
    with pytest.raises(OptionError, match="no address of this machine"):
        serve(ServeOptions(models=(world.model,), host="192.0.2.1", port=0, keys=tmp_path / "keys.jsonl"))


def test_two_models_of_one_name_are_refused(world):
    with pytest.raises(OptionError, match="two models are called"):
        serve(ServeOptions(models=(world.model, world.model), port=0))


def test_no_model_is_refused():
    with pytest.raises(OptionError, match="at least one model"):
        serve(ServeOptions(models=(), port=0))
