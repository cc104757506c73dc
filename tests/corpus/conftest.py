"""Pages for the corpus tests: English prose that passes the rules, and WARC files of it."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ropewalk.crawl.warc import encode_info, encode_response

PEER = Path(os.environ.get("ROPEWALK_DATATROVE", Path(__file__).parents[2] / ".peers")) / "bin" / "python"

_WORDS = {
    "noun": (
        "captain sailor neighbour harbour traveller rope sister mast barrel coast letter tide storm child "
        "winter market kitchen garden window bridge teacher doctor village mountain river horse engine hammer "
        "basket lantern mirror candle story question answer summer island forest meadow soldier painter "
        "farmer baker blacksmith"
    ),
    "verb": (
        "carries remembers repairs describes forgets measures watches understands sells admires follows "
        "builds paints borrows breaks finds loses keeps hides sends"
    ),
    "adjective": (
        "old young northern broken heavy long quiet bright narrow wooden distant careful hungry famous gentle "
        "strange early simple golden empty"
    ),
    "place": ("before behind under near beyond across against without inside around"),
}


def _prose(seed: object, sentences: int = 40) -> str:
    chance = random.Random(str(seed))

    def one(kind: str) -> str:
        return chance.choice(_WORDS[kind].split(" "))

    def thing() -> str:
        return f"the {one('adjective')} {one('noun')}"

    said = [f"The {one('noun')} {one('verb')} {thing()} {one('place')} {thing()} and {thing()}." for _ in range(sentences)]
    return "\n\n".join(" ".join(said[start : start + 4]) for start in range(0, sentences, 4))


def _html(text: str, title: str = "A page") -> bytes:
    paragraphs = "".join(f"<p>{paragraph}</p>\n" for paragraph in text.split("\n\n"))
    return f"<!doctype html><title>{title}</title><body><main><h1>{title}</h1>{paragraphs}</main></body>".encode()


def _write_warc(path: Path, pages: list[tuple[str, bytes]], content_type: str = "text/html; charset=utf-8") -> Path:
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nLast-Modified: Tue, 12 Apr 2022 00:22:10 GMT\r\n\r\n".encode()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [encode_response(url, head, payload, content_type="text/html") for url, payload in pages]
    path.write_bytes(encode_info(path.name, {"software": "test"}) + b"".join(records))
    return path


@pytest.fixture(scope="session")
def prose() -> Callable[..., str]:
    """prose(seed, sentences=40): English paragraphs, different for every seed."""
    return _prose


@pytest.fixture(scope="session")
def html() -> Callable[..., bytes]:
    """html(text, title=...): a page around paragraphs."""
    return _html


@pytest.fixture(scope="session")
def write_warc() -> Callable[..., Path]:
    """write_warc(path, [(url, payload), ...]): a WARC file."""
    return _write_warc


@pytest.fixture(scope="session")
def peer(tmp_path_factory):
    """judge(what, ...): datatrove's answer to datatrove_judge.py, which runs where datatrove is installed."""
    assert PEER.exists(), f"{PEER} is missing: make test-peers makes it"
    folder = tmp_path_factory.mktemp("peer")

    def judge(what: str, given: object) -> object:
        (folder / "given.json").write_text(json.dumps(given), encoding="utf-8")
        script = Path(__file__).with_name("datatrove_judge.py")
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [PEER, script, what, folder / "given.json", folder / "answer.json"]
        subprocess.run(command, check=True, env=environment | {"HF_HUB_OFFLINE": "1"})
        return json.loads((folder / "answer.json").read_text(encoding="utf-8"))

    return judge
