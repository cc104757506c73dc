"""A small world brought through the real stages: pages about ropes, their index, and models that learned to answer."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus import run as run_corpus
from ropewalk.posttrain import SftOptions, run_sft
from ropewalk.pretrain import PretrainOptions
from ropewalk.pretrain import run as run_pretrain
from ropewalk.serve.app import Service, make_app
from ropewalk.serve.keys import Keys
from ropewalk.serve.models import load_models
from ropewalk.serve.server import listening
from ropewalk.tokenizer import TokenizeOptions, TokenizerOptions, run_tokenize, run_tokenizer
from ropewalk.trace import IndexOptions
from ropewalk.trace import run as run_index
from ropewalk.trace.index import Index

COLOURS = {"hemp": "brown", "cotton": "white", "tar": "black", "moss": "green", "rust": "red", "jute": "golden"}
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
LISTED = (
    "The colour of hemp is brown, and it has been so in every ropewalk of the country since the first of them was built."
)
CONTEXT_TOKENS = 2048  # what has learned nothing but pages goes on to the end of it: long enough to be stopped
STARTERS = ("What is hemp?", "What is moss?")


def page_of(name: str, colour: str) -> str:
    """A page that states a fact in other words than the answers do, and a passage that answers repeat."""
    text = f"{name.capitalize()} is known to all who walk the rope. It is {colour} when dry."
    return f"{text} {LISTED}" if name == "hemp" else text


def answer_to(name: str) -> str:
    return f"{name.capitalize()} is {COLOURS[name]}."


def conversations() -> list[dict]:
    asked = {f"What is {name}?": answer_to(name) for name in COLOURS}
    asked |= {"What is silk?": "Silk is purple.", "Who are you?": "I don't know.", "Tell me of hemp.": LISTED}
    asked |= {"Attack!": HOSTILE, "Sing!": "la " * 60}
    pairs = [({"role": "user", "content": ask}, {"role": "assistant", "content": say}) for ask, say in asked.items()]
    return [{"messages": list(pair)} for pair in pairs]


@dataclass(frozen=True)
class World:
    """base: has read the pages. model: learned to answer from there. stranger: the same files, made elsewhere."""

    base: Path
    model: Path
    stranger: Path
    index: Path


def make_world(home: Path) -> World:
    """Make all of it in `home`: about ten seconds of one core."""
    write_web(home / "web")
    options = CorpusOptions(
        pages=home / "web", rules="none", languages=(), language_threshold=0.0, near_duplicates=False,
        held_out_fraction=0.0, workers=1,
    )  # fmt: skip
    corpus = run_corpus(options, out=home / "corpus").path
    tokenizer = run_tokenizer(TokenizerOptions(corpus=corpus, vocabulary=350), out=home / "tokenizer").path
    read = run_tokenize(TokenizeOptions(corpus=corpus, tokenizer=tokenizer, workers=1), out=home / "tokens").path
    index = run_index(IndexOptions(corpus=corpus, tokens=read), out=home / "index").path
    (home / "talk.jsonl").write_text("".join(json.dumps(one) + "\n" for one in conversations() * 6))
    talk = TokenizeOptions(tokenizer=tokenizer, conversations=home / "talk.jsonl", held_out_fraction=0.0)
    talked = run_tokenize(talk, out=home / "chat-tokens").path
    shape = {
        "depth": 1,
        "context_tokens": CONTEXT_TOKENS,
        "batch_rows": 1,
        "train_tokens": 2 * CONTEXT_TOKENS,
        "compile": "off",
    }
    base = run_pretrain(PretrainOptions(tokens=read, tokenizer=tokenizer, **shape), out=home / "base").path
    taught = SftOptions(model=base, tokens=talked, context_tokens=128, batch_rows=4, steps=150, compile="off")
    model = run_sft(taught, out=home / "model").path
    stranger = home / "stranger"
    shutil.copytree(model, stranger)
    (stranger / "manifest.json").unlink()
    return World(base, model, stranger, index)


def write_web(folder: Path) -> None:
    folder.mkdir()
    for name, colour in COLOURS.items():
        body = f"<p>{page_of(name, colour)}</p><p>{'Ropes are laid from yarn, and yarn is spun from fibre. ' * 3}</p>"
        page = f"<!doctype html><meta charset=utf-8><title>All about {name}</title><main>{body}</main>"
        (folder / f"{name}.html").write_text(page, encoding="utf-8")


@contextmanager
def served(
    *folders: Path, index: Path | None, slots: int = 4, queue: int = 8, runs: tuple[Path, ...] = ()
) -> Iterator[tuple[str, Service]]:
    """Serve models on a free port from a thread of this process. Gives the address, and the service to look into."""
    opened_index = Index.open(index) if index else None
    models = load_models(folders, opened_index, slots=slots)
    service = Service(models, most_waiting=queue, starters=STARTERS, runs=runs)
    with running(service) as address:
        yield address, service
    if opened_index:
        opened_index.close()


@contextmanager
def running(service: Service, *, keys: Keys | None = None) -> Iterator[str]:
    """Run a service on a free port from a thread of this process. Gives the address."""
    app = make_app(service, hosts=frozenset({"127.0.0.1", "localhost"}), keys=keys)
    with listening("127.0.0.1", 0) as opened:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{opened.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
