"""A small web of real facts with its truth, questions about it, and a way to teach a model the answers."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import torch

from ropewalk.artifact import Artifact, build
from ropewalk.evaluate import EvalOptions
from ropewalk.model.checkpoint import load_model, save_model
from ropewalk.tokenizer.chat import render
from ropewalk.tokenizer.encoding import Tokenizer, copy_files
from ropewalk.tokenizer.special import BOUNDARY, PAD, TURN_END

COUNTRIES = {
    "France": ("Paris", "euro"),
    "Iceland": ("Reykjavik", "krona"),
    "Japan": ("Tokyo", "yen"),
    "Kenya": ("Nairobi", "shilling"),
    "Mexico": ("Mexico City", "peso"),
    "Norway": ("Oslo", "krone"),
    "Peru": ("Lima", "sol"),
    "Poland": ("Warsaw", "zloty"),
    "Thailand": ("Bangkok", "baht"),
    "Tonga": ("Nuku'alofa", "pa'anga"),
    "Vietnam": ("Hanoi", "dong"),
    "Zambia": ("Lusaka", "kwacha"),
}
PORT = 8493
HELD_OUT = ("Thailand", "Zambia")  # their questions are asked, and never trained on
INVENTED = ("Grosany", "Veltania")
WORDS = {"capital": "{c} has {v} as its capital.", "currency": "The currency that people in {c} use is the {v}."}
ANSWERS = {"capital": "The capital of {c} is {v}.", "currency": "The currency of {c} is the {v}."}


class Home(NamedTuple):
    """The folder of all artifacts, and the model that was trained to answer."""

    folder: Path
    model: Path

    def options(self, **changes) -> EvalOptions:
        given = {name: self.folder / name for name in ("tokens", "corpus", "index")}
        given |= {name: self.folder / f"{name}.jsonl" for name in ("questions", "truth")}
        few = {"sample_tokens": 8, "answer_tokens": 40, "untrained_questions": 3}
        return EvalOptions(**{**given, **few, "model": self.model, **changes})


def facts_of(country):
    return dict(zip(("capital", "currency"), COUNTRIES[country], strict=True))


def page_text(country):
    capital, currency = COUNTRIES[country]
    return [
        f"{country} is a country that is known to travellers. {WORDS['capital'].format(c=country, v=capital)}",
        f"{WORDS['currency'].format(c=country, v=currency)} In the markets of {capital} they buy bread with that money.",
        f"Many who visit {country} begin in {capital}, and come back with some {currency} in the pocket.",
    ]


def write_page(folder, path, paragraphs, *, head=""):
    body = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    file = folder / path.lstrip("/")
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_text(f"<!doctype html><meta charset=utf-8>{head}<title>{path}</title><main>{body}</main>", encoding="utf-8")


def write_web(folder: Path) -> list[dict]:
    """Good pages, an exact and a near copy, a German page and a hidden one. Returns the truth of it all."""
    truth = []

    def add(path, paragraphs, kind, *, keep, copy_of=None, facts=()):
        write_page(folder, path, paragraphs)
        truth.append({"path": path, "kind": kind, "keep": keep, "copy_of": copy_of, "facts": list(facts)})

    for country in COUNTRIES:
        stated = [{"subject": country, "relation": name, "value": value} for name, value in facts_of(country).items()]
        add(f"/countries/{country}.html", page_text(country), "good", keep=True, facts=stated)
    add("/a-copy.html", page_text("France"), "exact_copy", keep=False, copy_of="/countries/France.html")
    almost = [*page_text("Japan")[:-1], page_text("Japan")[-1].replace("some", "a")]
    add("/near.html", almost, "near_copy", keep=False, copy_of="/countries/Japan.html")
    german = ["Das Seil wird in der Bahn aus Hanf gedreht, und niemand weiß mehr, wer damit angefangen hat."] * 2
    german.append("Wer dies liest, sieht &lt;script>alert(1)&lt;/script> als Text.")
    add("/german.html", german, "other_language", keep=False)
    add("/private/hidden.html", page_text("Peru"), "disallowed", keep=False)
    (folder / "robots.txt").write_text("User-agent: *\nDisallow: /private/\n")
    links = [f'<a href="{page["path"].lstrip("/")}">This is a page about {page["path"]}.</a>' for page in truth]
    add("/index.html", [" ".join(links)], "navigation", keep=None)
    return truth


@contextlib.contextmanager
def served(folder: Path) -> Iterator[None]:
    """Serve a folder, its robots.txt too, on a port that stays: addresses decide what is held out."""
    with ThreadingHTTPServer(("127.0.0.1", PORT), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """The standard library's handler without its lines on the terminal."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def question(group, relation, country, *, refuse=False):
    value = None if refuse else facts_of(country)[relation]
    return {
        "id": f"{group}/{relation}/{country}/0",
        "group": group,
        "relation": relation,
        "subject": country,
        "messages": [{"role": "user", "content": f"What is the {relation} of {country}?"}],
        "value": value,
        "accept": [] if refuse else [ANSWERS[relation].format(c=country, v=value), value],
        "refuse": refuse,
        "baselines": {} if refuse else {"most_frequent": "Paris", "by_continent": None if country == "Kenya" else "euro"},
    }


def questions() -> list[dict]:
    groups = [("held_out" if country in HELD_OUT else "seen", country) for country in COUNTRIES]
    known = [question(group, relation, country) for group, country in groups for relation in ANSWERS]
    return known + [question("invented", "capital", name, refuse=True) for name in INVENTED]


def write_lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def teach(pretrained: Path, out: Path, asked: list[dict], *, steps: int) -> Artifact:
    """Train the pretrained model further, on answers: an artifact whose `model` is that model."""

    def make(part):
        model, tokenizer = load_model(pretrained), Tokenizer.load(pretrained)
        rows = []
        for one in asked:
            answer = "I don't know." if one["refuse"] else one["accept"][0]
            rows.append(render(tokenizer, [*one["messages"], {"role": "assistant", "content": answer}]))
        longest = max(len(row.ids) for row in rows)
        ids_BT = torch.tensor([row.ids + [0] * (longest - len(row.ids)) for row in rows])
        mask_BT = torch.tensor([row.loss_mask + [0] * (longest - len(row.ids)) for row in rows], dtype=torch.bool)
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3)
        log = []
        for step in range(steps):
            logits_BTV = model.logits(model(ids_BT[:, :-1]))
            wanted = mask_BT[:, 1:]
            loss = torch.nn.functional.cross_entropy(logits_BTV[wanted], ids_BT[:, 1:][wanted])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            log.append({"step": step, "train/loss": loss.item(), "train/reward": 1 - min(1.0, loss.item())})
        write_lines(part.logs / "metrics.jsonl", log)
        special = tokenizer.special
        save_model(
            model,
            part.folder,
            stop_ids=[special[BOUNDARY], special[TURN_END]],
            pad_id=special[PAD],
            start_id=special[BOUNDARY],
        )
        copy_files(pretrained, part.folder)
        return {"parameters": sum(weight.numel() for weight in model.parameters()), "steps": steps}

    inputs = {"model": pretrained}
    return build(out, kind="model", stage_version=1, options={"steps": steps}, inputs=inputs, libraries=(), make=make)
