"""The whole line on a tiny web: served, crawled, filtered, tokenized, trained, measured, reported, talked to."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from ropewalk.artifact import open_artifact, verify

STAGES = ("pages", "corpus", "tokenizer", "tokens", "model", "evaluation", "report")
FIBRES = ("hemp", "manila", "sisal", "cotton", "jute", "flax", "nylon", "coir")
PLACES = ("harbour", "shed", "yard", "workshop", "mill", "barn", "quay", "loft")
TEXT = (
    "In the {place} the rope makers twist {fibre} into yarn, and the yarn into strands that a ship can trust.",
    "A rope of {fibre} that was laid in the {place} is {number} fathoms long when it is new, and it stretches with use.",
    "When {fibre} gets wet it swells, so the people of the {place} keep it dry and tar it before the winter comes.",
    "Nobody in the {place} has forgotten the year in which {number} coils of {fibre} were lost to the fire.",
    "It takes {number} days to learn how {fibre} is hatchelled, and a life in the {place} to do it well.",
    "The price of {fibre} was {number} pence a pound, which the owners of the {place} thought too much to pay.",
)


def write_web(folder: Path, *, pages: int = 60) -> None:
    """English pages with navigation, one German page, an exact copy, a near copy, a page with next to nothing."""
    rng = random.Random(1)
    folder.mkdir()
    links = "".join(f'<li><a href="page{number}.html">Page {number}</a></li>' for number in range(pages))
    extra = "".join(f'<li><a href="{name}.html">{name}</a></li>' for name in ("copy", "near", "german", "empty"))
    (folder / "index.html").write_text(
        f"<title>Ropes</title><nav><ul>{links}{extra}</ul></nav><p>All pages about ropes.</p>"
    )
    bodies = []
    for number in range(pages):
        paragraphs = []
        for _ in range(6):
            sentences = [
                rng.choice(TEXT).format(place=rng.choice(PLACES), fibre=rng.choice(FIBRES), number=rng.randrange(1000))
                for _ in range(4)
            ]
            paragraphs.append(f"<p>{' '.join(sentences)}</p>")
        bodies.append("".join(paragraphs))
        write_page(folder / f"page{number}.html", f"Page {number}", bodies[-1])
    write_page(folder / "copy.html", "Page 3", bodies[3])
    write_page(folder / "near.html", "Page 4 again", bodies[4].replace("tar it", "oil it", 1))
    german = "Das Seil wird in der Bahn aus Hanf gedreht, und niemand weiß mehr, wer damit angefangen hat. " * 20
    write_page(folder / "german.html", "Seile", f"<p>{german}</p>")
    write_page(folder / "empty.html", "Nothing", "<p>Soon.</p>")


def write_page(path: Path, title: str, body: str) -> None:
    path.write_text(
        f"<!doctype html><html><head><meta charset=utf-8><title>{title}</title></head><body>"
        f'<nav><a href="index.html">Home</a></nav><main><h1>{title}</h1>{body}</main><footer>All rights reserved</footer>'
        "</body></html>",
        encoding="utf-8",
    )


def write_recipe(path: Path, *, web: Path, into: Path, port: int) -> None:
    path.write_text(
        f"""
into = {json.dumps(str(into))}
[pages]
stage = "crawl"
serve = {{ ropes = {json.dumps(str(web))} }}
serve_port = {port}
delay_seconds = 0
[corpus]
stage = "corpus"
pages = "pages"
held_out_fraction = 0.1
[tokenizer]
stage = "tokenizer"
corpus = "corpus"
vocabulary = 400
[tokens]
stage = "tokenize"
corpus = "corpus"
tokenizer = "tokenizer"
[model]
stage = "pretrain"
tokens = "tokens"
tokenizer = "tokenizer"
depth = 1
context_tokens = 64
batch_rows = 4
train_tokens = 50_000
evaluate_every_steps = 50
compile = "off"
[evaluation]
stage = "eval"
model = "model"
tokens = "tokens"
corpus = "corpus"
sample_tokens = 30
[report]
stage = "report"
evaluation = "evaluation"
""",
        encoding="utf-8",
    )


def ropewalk(*arguments: str | Path, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "ropewalk", *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 or not check, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def line(tmp_path_factory) -> Path:
    """A folder in which the recipe has been run."""
    home = tmp_path_factory.mktemp("line")
    write_web(home / "web")
    write_recipe(home / "recipe.toml", web=home / "web", into=home / "run", port=8479)
    ropewalk("run", home / "recipe.toml")
    return home


def test_every_stage_stands_and_verifies(line):
    for stage in STAGES:
        assert verify(line / "run" / stage) == []
    assert sorted(path.name for path in (line / "run").iterdir()) == sorted(STAGES)


def test_junk_and_copies_are_dropped_and_every_page_is_accounted_for(line):
    from ropewalk.corpus.reading import read_documents, read_ledger

    facts = open_artifact(line / "run" / "corpus").facts
    urls = {url for batch in read_documents(line / "run" / "corpus", columns=("url",)) for url in batch["url"].to_pylist()}
    names = {url.rsplit("/", 1)[1] for url in urls}
    assert "german.html" not in names
    assert "empty.html" not in names
    assert len({"page3.html", "copy.html"} & names) == 1
    assert len({"page4.html", "near.html"} & names) == 1
    assert sum(name.startswith("page") for name in names) >= 58
    ledger = read_ledger(line / "run" / "corpus").to_pylist()
    assert len(ledger) == facts["records"] == open_artifact(line / "run" / "pages").facts["pages"]
    reasons = {row["url"].rsplit("/", 1)[1]: (row["stage"], row["reason"]) for row in ledger}
    assert reasons["german.html"] == ("language", "language=de")


def test_the_model_knows_the_pages_better_than_chance(line):
    measured = json.loads((line / "run" / "evaluation" / "evaluation.json").read_text())
    assert measured["bits_per_byte"]["model"] < 2.0
    assert set(measured["bits_per_byte"]) == {"model", "kneser_ney_5_gram", "xz_primed"}
    assert len(measured["samples"]) == 10


def test_the_report_stands_alone(line):
    page = (line / "run" / "report" / "index.html").read_text()
    for expected in ("On text it has not read", "From pages to documents", "near duplicate", "<svg", "How it was made"):
        assert expected in page
    assert "http://127.0.0.1" not in page.replace("127.0.0.1:8479/ropes", "")
    assert "<script" not in page
    assert "src=" not in page


def test_a_second_run_makes_nothing(line):
    before = {stage: (line / "run" / stage / "manifest.json").stat().st_mtime_ns for stage in STAGES}
    ropewalk("run", line / "recipe.toml")
    assert before == {stage: (line / "run" / stage / "manifest.json").stat().st_mtime_ns for stage in STAGES}


def test_another_crawl_of_the_same_pages_gives_the_same_digests(line, tmp_path):
    ropewalk("run", line / "recipe.toml", "--into", tmp_path / "again")
    for stage in ("corpus", "tokenizer", "tokens", "model"):
        assert open_artifact(tmp_path / "again" / stage).digest == open_artifact(line / "run" / stage).digest


def test_lineage_leads_from_the_model_to_its_pages(line):
    shown = ropewalk("lineage", line / "run" / "model").stdout
    for stage in ("model", "tokens", "tokenizer", "corpus", "pages"):
        assert open_artifact(line / "run" / stage).digest[:12] in shown
    assert "127.0.0.1:8479" in shown
    pages = ropewalk("lineage", line / "run" / "model", "--pages", "--step", "3").stdout
    assert "http://127.0.0.1:8479/ropes/page" in pages


def test_it_talks_in_the_terminal(line):
    command = ("generate", "--model", line / "run" / "model", "--prompt", "The rope", "--max-tokens", "20")
    first = ropewalk(*command).stdout
    assert first.startswith("The rope")
    assert len(first) > 20
    assert ropewalk(*command).stdout == first
    assert ropewalk(*command, "--seed", "1").stdout != first
    answer = ropewalk("chat", "--model", line / "run" / "model", "--max-tokens", "10", stdin="When hemp\n/new\n\n/exit\n")
    assert "no conversations" in answer.stderr
    assert answer.stdout.strip()


def test_one_tampered_byte_stops_the_next_stage(line, tmp_path):
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(line / "run", copy)
    target = next((copy / "tokens").glob("tokens-*.bin"))
    data = bytearray(target.read_bytes())
    data[1000] ^= 1
    target.write_bytes(data)
    done = ropewalk("run", line / "recipe.toml", "--into", copy, check=False)
    assert done.returncode == 1
    assert "has changed since it was made" in done.stderr
    done = ropewalk("verify", copy / "tokens", check=False)
    assert done.returncode == 1
    assert target.name in done.stdout + done.stderr


def test_random_kills_anywhere_change_nothing(line, tmp_path):
    """Kill the whole line at random moments; what it ends with is what an undisturbed run gave."""
    rng, kills, out = random.Random(os.getpid()), 0, tmp_path / "killed"
    command = [sys.executable, "-m", "ropewalk", "run", str(line / "recipe.toml"), "--into", str(out)]
    while True:
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            code = process.wait(rng.uniform(1.0, 6.0) if kills < 4 else 300)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            continue
        assert code == 0
        break
    assert kills >= 1
    for stage in ("corpus", "tokenizer", "tokens", "model"):
        assert open_artifact(out / stage).digest == open_artifact(line / "run" / stage).digest
    assert verify(out / "pages") == []
