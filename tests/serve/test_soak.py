"""A server with more clients than it has room for: answers and 429s, and nothing left behind.

`pytest tests/serve/test_soak.py --soak-seconds 600` does it for ten minutes.
"""

from __future__ import annotations

import http.client
import json
import random
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psutil
from tests.engine.small import write_folder
from tests.serve.asking import ask, until
from tests.serve.test_server import process_of

CLIENTS, SLOTS, QUEUE = 40, 4, 12
ABORTED = "aborted"
LEAST_ANSWERS = 10
MOST_GROWTH_BYTES = 24_000_000  # between the second and the last quarter: allocators give nothing back at once


def body_of(rng: random.Random) -> tuple[str, dict]:
    """Something to ask for: beginnings that many share, and others; one text or several; short and long ones."""
    prompt = "".join(rng.choice(["All ropes. ", "Yarn? "]) for _ in range(rng.randrange(1, 30))) + str(rng.random())
    sizes = {"max_tokens": rng.randrange(1, 120), "n": rng.choice([1, 1, 1, 2]), "stream": rng.random() < 0.7}
    if rng.random() < 0.5:
        return "/v1/chat/completions", {"model": "small", "messages": [{"role": "user", "content": prompt}], **sizes}
    return "/v1/completions", {"model": "small", "prompt": prompt, **sizes}


def ask_once(address: str, rng: random.Random) -> str | int:
    """Ask for something, and leave in the middle of a third of the answers. Returns the status, or that it was left."""
    path, body = body_of(rng)
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=120)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        if rng.random() < 0.1:  # before it begins
            return ABORTED
        response = connection.getresponse()
        if response.status == 200 and rng.random() < 0.25:
            response.read(rng.randrange(1, 2_000))
            return ABORTED
        said = response.read()
        if response.status == 200 and body["stream"]:
            assert said.endswith(b"data: [DONE]\n\n"), said[-300:]
        return response.status
    finally:
        connection.close()


def sample(address: str, name: str) -> float:
    """What /metrics says of the model."""
    lines = ask(address, "/metrics")[1].splitlines()
    [line] = [line for line in lines if line.startswith(f'ropewalk_{name}{{model="small"}}')]
    return float(line.rpartition(" ")[2])


def client(address: str, number: int, end: float) -> Counter[str | int]:
    """Ask until the end. Returns how often what came."""
    rng, seen = random.Random(number), Counter()
    while time.monotonic() < end:
        status = ask_once(address, rng)
        seen[status] += 1
        if status == 429:
            time.sleep(rng.random() * 0.2)
    return seen


def test_overload_gives_answers_and_429s_and_leaves_nothing_behind(tmp_path, pytestconfig):
    seconds = pytestconfig.getoption("--soak-seconds")
    folder = write_folder(tmp_path / "small", context_tokens=512)
    with (
        process_of("--models", folder, "--slots", SLOTS, "--queue", QUEUE) as (process, address),
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        end = time.monotonic() + seconds
        clients = [pool.submit(client, address, number, end) for number in range(CLIENTS)]
        held_bytes: list[int] = []
        while time.monotonic() < end:
            held_bytes.append(psutil.Process(process.pid).memory_info().rss)
            time.sleep(seconds / 100)
        seen = sum((one.result() for one in clients), Counter())
        assert set(seen) == {200, 429, ABORTED}
        assert seen[200] >= LEAST_ANSWERS

        until(lambda: sample(address, "requests_running") == 0, seconds=60)
        assert sample(address, "requests_waiting") == 0
        assert sample(address, "cache_held_fraction") == 0
        assert ask(address, "/health")[1]["in_flight"] == {"small": 0}
        quarter = len(held_bytes) // 4
        growth_bytes = statistics.median(held_bytes[-quarter:]) - statistics.median(held_bytes[quarter : 2 * quarter])
        print(f"{dict(seen)} in {seconds} s; memory {growth_bytes / 1e6:+.1f} MB of {held_bytes[-1] / 1e6:.0f} MB")
        assert growth_bytes <= MOST_GROWTH_BYTES
        process.terminate()
        process.wait(timeout=60)
        assert "Traceback" not in process.stderr.read()
