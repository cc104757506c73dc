"""The whole line on a tiny web: served, crawled, filtered, tokenized, trained, measured, reported, talked to."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from html import escape
from pathlib import Path

import pytest

from ropewalk.artifact import open_artifact, verify

COPIED, ALTERED = 3, 4
STAGES = ("pages", "corpus", "tokenizer", "tokens", "model", "evaluation", "report")


def topics() -> list[str]:
    """Real prose that every Python carries: the reference manual's topics, as 'help()' shows them."""
    from pydoc_data.topics import topics as all_topics

    return [text for _, text in sorted(all_topics.items()) if 1_500 < len(text) < 30_000]


def write_web(folder: Path) -> None:
    """English pages with navigation, one German page, an exact copy, a near copy, a page with next to nothing."""
    folder.mkdir()
    texts = topics()
    links = "".join(f'<li><a href="page{number}.html">Page {number}</a></li>' for number in range(len(texts)))
    extra = "".join(f'<li><a href="{name}.html">{name}</a></li>' for name in ("copy", "near", "german", "empty"))
    (folder / "index.html").write_text(f"<title>Topics</title><nav><ul>{links}{extra}</ul></nav><p>All pages.</p>")
    bodies = ["".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n")) for text in texts]
    for number, body in enumerate(bodies):
        write_page(folder / f"page{number}.html", f"Page {number}", body)
    write_page(folder / "copy.html", f"Page {COPIED}", bodies[COPIED])
    write_page(folder / "near.html", f"Page {ALTERED} again", bodies[ALTERED].replace("the", "this", 1))
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
serve = {{ topics = {json.dumps(str(web))} }}
serve_port = {port}
delay_seconds = 0
[corpus]
stage = "corpus"
pages = "pages"
held_out_fraction = 0.1
max_duplicate_ngram_fractions = [0.30, 0.28, 0.26, 0.24, 0.22, 0.20]
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
    assert len({f"page{COPIED}.html", "copy.html"} & names) == 1
    assert len({f"page{ALTERED}.html", "near.html"} & names) == 1
    assert len(names) >= 0.7 * len(topics())
    ledger = read_ledger(line / "run" / "corpus").to_pylist()
    assert len(ledger) == facts["records"] == open_artifact(line / "run" / "pages").facts["pages"]
    reasons = {row["url"].rsplit("/", 1)[1]: (row["stage"], row["reason"]) for row in ledger}
    assert reasons["german.html"] == ("language", "language=de")


def test_the_model_knows_the_pages_better_than_chance(line):
    measured = json.loads((line / "run" / "evaluation" / "evaluation.json").read_text())
    assert 1.0 < measured["bits_per_byte"]["model"] < 3.0
    assert set(measured["bits_per_byte"]) == {"model", "kneser_ney_5_gram", "xz_primed"}
    assert len(measured["samples"]) == 10


def test_the_report_stands_alone(line):
    page = (line / "run" / "report" / "index.html").read_text()
    for expected in ("On text it has not read", "From pages to documents", "near duplicate", "<svg", "How it was made"):
        assert expected in page
    assert "http://127.0.0.1" not in page.replace("127.0.0.1:8479/topics", "")
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
    assert f"served: topics = {line / 'web'}" in shown
    pages = ropewalk("lineage", line / "run" / "model", "--pages", "--step", "3").stdout
    assert "http://127.0.0.1:8479/topics/page" in pages


def test_it_talks_in_the_terminal(line):
    command = ("generate", "--model", line / "run" / "model", "--prompt", "The value", "--max-tokens", "20")
    first = ropewalk(*command).stdout
    assert first.startswith("The value")
    assert len(first) > 20
    assert ropewalk(*command).stdout == first
    assert ropewalk(*command, "--seed", "1").stdout != first
    answer = ropewalk("chat", "--model", line / "run" / "model", "--max-tokens", "10", stdin="When a name\n/new\n\n/exit\n")
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
