import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from ropewalk.corpus import CorpusOptions, run
from ropewalk.corpus.reading import read_documents, read_ledger
from ropewalk.runtime.errors import InputError, OptionError

GERMAN = (
    "Der alte Kapitän trägt das lange Seil mit großer Sorgfalt durch die Stadt, und niemand weiß, warum er das tut. " * 8
)


@pytest.fixture
def pages(prose, html) -> list[tuple[str, bytes]]:
    """Good pages and one of each bad kind: the page's name tells which."""
    good = [(f"http://site/good/{number:03d}", html(prose(number))) for number in range(30)]
    nearly = prose(7) + " And so on."
    return [
        *good,
        ("http://site/bad/binary", bytes(range(256)) * 40),
        ("http://site/bad/copy", html(prose(3)) + b"<!-- a copy -->"),
        ("http://site/bad/deep", b"<div>" * 5_000 + b"deep"),
        ("http://site/bad/empty", b""),
        ("http://site/bad/german", html(GERMAN)),
        ("http://site/bad/large", b"<p>" + b"word " * 30_000),
        ("http://site/bad/nearly", html(nearly)),
        ("http://site/bad/no_text", b"<html><body><nav>Home</nav></body></html>"),
        ("http://site/bad/short", html("Only a few words of the text that there could have been.")),
        ("http://site/latin", f"<meta charset=iso-8859-1><p>Café. {prose('latin')}</p>".encode("latin-1")),
    ]


def ledger_of(corpus: Path) -> dict[str, dict]:
    return {row["url"]: row for row in read_ledger(corpus).to_pylist()}


def texts_of(corpus: Path, split: str | None = None) -> list[dict]:
    batches = read_documents(corpus, columns=("url", "text", "page_id", "split", "date", "title"), split=split)
    return [row for batch in batches for row in batch.to_pylist()]


def test_every_record_stands_once_in_the_ledger_with_its_reason(tmp_path, pages, write_warc):
    warc = write_warc(tmp_path / "pages.warc.gz", pages, content_type="text/html")
    artifact = run(CorpusOptions(pages=warc, max_page_bytes=100_000, workers=2), out=tmp_path / "corpus")
    rows = read_ledger(artifact.path).to_pylist()
    assert sorted(row["url"] for row in rows) == sorted(url for url, _ in pages)
    assert [(row["url"], row["page_id"]) for row in rows] == sorted((row["url"], row["page_id"]) for row in rows)
    ledger = ledger_of(artifact.path)
    found = {
        url.removeprefix("http://site/bad/"): (row["stage"], row["reason"]) for url, row in ledger.items() if "bad" in url
    }
    # The copies sort before the originals: "bad" < "good". They are kept, and the originals are the duplicates.
    assert found == {
        "binary": ("decode", "unreadable"),
        "copy": ("kept", ""),
        "deep": ("extract", "nesting"),
        "empty": ("read", "empty"),
        "german": ("language", "language=de"),
        "large": ("read", "too_large"),
        "nearly": ("kept", ""),
        "no_text": ("extract", "no_text"),
        "short": ("quality", "gopher_top_4_gram"),
    }
    original, near = ledger["http://site/good/003"], ledger["http://site/good/007"]
    assert (original["stage"], original["duplicate_of"]) == ("exact_duplicate", ledger["http://site/bad/copy"]["page_id"])
    assert (near["stage"], near["duplicate_of"]) == ("near_duplicate", ledger["http://site/bad/nearly"]["page_id"])
    assert (ledger["http://site/bad/deep"]["value"], ledger["http://site/bad/deep"]["threshold"]) == (5_000, 512)


def test_documents_facts_and_ledger_agree(tmp_path, pages, write_warc):
    artifact = run(
        CorpusOptions(pages=write_warc(tmp_path / "pages.warc.gz", pages, content_type="text/html"), workers=2),
        out=tmp_path / "corpus",
    )
    documents, facts = texts_of(artifact.path), artifact.facts
    kept = [row for row in read_ledger(artifact.path).to_pylist() if row["stage"] == "kept"]
    assert [row["page_id"] for row in documents] == [row["page_id"] for row in kept]
    assert facts["documents"] == len(documents) == facts["funnel"][-1]["documents"]
    assert facts["records"] == len(pages) == facts["documents"] + sum(facts["dropped"].values())
    assert facts["bytes_utf8"] == sum(len(row["text"].encode()) for row in documents) == facts["funnel"][-1]["bytes"]
    assert facts["characters"] == sum(row["characters"] for row in kept)
    assert facts["held_out_documents"] == len(texts_of(artifact.path, "held_out")) == 1
    assert len(texts_of(artifact.path, "train")) == len(documents) - 1
    latin = next(row for row in documents if row["url"] == "http://site/latin")
    assert latin["text"].startswith("Café. ") and latin["date"].isoformat() == "2022-04-12"
    assert next(row for row in documents if "good" in row["url"])["title"] == "A page"


def test_neither_workers_nor_order_nor_shards_reach_the_bytes(tmp_path, prose, html, write_warc):
    pages = [(f"http://site/{number % 50:03d}", html(prose(number % 130, 12))) for number in range(150)]
    shuffled = random.Random(1).sample(pages, len(pages))
    write_warc(tmp_path / "one/pages.warc.gz", pages)
    write_warc(tmp_path / "two/pages.warc.gz", shuffled)
    write_warc(tmp_path / "three/pages-0.warc.gz", shuffled[:40])
    write_warc(tmp_path / "three/pages-1.warc.gz", shuffled[40:])
    runs = [("one", 1), ("two", 2), ("three", 2)]
    digests = {
        run(CorpusOptions(pages=tmp_path / name, workers=workers), out=tmp_path / f"{name}-corpus").digest
        for name, workers in runs
    }
    assert len(digests) == 1


def test_a_page_that_hangs_costs_itself_only(tmp_path, prose, html, write_warc, capfd):
    pages = [(f"http://site/{number}", html(prose(number))) for number in range(6)]
    pages.insert(3, ("http://site/hang", b"<div>" * 30_000 + b"deep"))
    warc = write_warc(tmp_path / "pages.warc.gz", pages)
    options = CorpusOptions(pages=warc, max_nesting=10**9, page_seconds=1, workers=1)
    artifact = run(options, out=tmp_path / "corpus")
    ledger = ledger_of(artifact.path)
    assert (ledger["http://site/hang"]["stage"], ledger["http://site/hang"]["reason"]) == ("extract", "timeout")
    assert artifact.facts["documents"] == 6
    assert "http://site/hang killed its worker" in capfd.readouterr().err


def test_a_killed_run_carries_on_to_the_same_bytes(tmp_path, prose, html, write_warc):
    pages = [(f"http://site/{number:04d}", html(prose(number, 12))) for number in range(600)]
    warc = write_warc(tmp_path / "pages.warc.gz", pages)
    script = f"""
from pathlib import Path
from ropewalk.corpus import CorpusOptions, run
if __name__ == "__main__":
    run(CorpusOptions(pages=Path({str(warc)!r}), workers=2), out=Path({str(tmp_path / "killed")!r}))
"""
    (tmp_path / "script.py").write_text(script)
    process = subprocess.Popen([sys.executable, str(tmp_path / "script.py")], stderr=subprocess.DEVNULL)
    scratch = tmp_path / "killed.part" / "scratch"
    deadline = time.monotonic() + 60
    while not list(scratch.glob("batch-*.parquet")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 0 < len(list(scratch.glob("batch-*.parquet"))) < 5
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    resumed = run(CorpusOptions(pages=warc, workers=1), out=tmp_path / "killed")
    undisturbed = run(CorpusOptions(pages=warc, workers=2), out=tmp_path / "undisturbed")
    assert resumed.digest == undisturbed.digest


def test_a_truncated_warc_gives_what_stands_before_the_cut(tmp_path, prose, html, write_warc, capfd):
    warc = write_warc(tmp_path / "pages.warc.gz", [(f"http://site/{number}", html(prose(number))) for number in range(5)])
    warc.write_bytes(warc.read_bytes()[:-300])
    artifact = run(CorpusOptions(pages=warc, workers=1), out=tmp_path / "corpus")
    assert artifact.facts["documents"] == 4
    assert artifact.facts["reasons"] == {"fault": 1}
    assert "pages.warc.gz at byte" in capfd.readouterr().err


def test_an_address_that_is_none_costs_nothing(tmp_path, prose, html, write_warc):
    urls = ["http://[x/page", "http://site/1", "http://site/2"]
    warc = write_warc(tmp_path / "pages.warc.gz", [(url, html(prose(url))) for url in urls])
    artifact = run(CorpusOptions(pages=warc, workers=1), out=tmp_path / "corpus")
    assert artifact.facts["hosts"] == {"[x": 1, "site": 2}
    assert sorted(row["url"] for row in texts_of(artifact.path)) == urls


def test_a_folder_of_files(tmp_path, prose, html):
    folder, outside = tmp_path / "mine", tmp_path / "outside"
    (folder / "deep").mkdir(parents=True)
    outside.mkdir()
    (folder / "a.html").write_bytes(html(prose("a")))
    (folder / "deep" / "b.md").write_text("# Notes\n\n    indented code\n\n" + prose("b"))
    (folder / "c.txt").write_bytes(("Café. " + prose("c")).encode("cp1252"))
    (folder / "ignored.png").write_bytes(b"\x89PNG")
    (folder / "manifest.json").write_text('{"name": "a web app has one too", "icons": []}')
    (outside / "secret.txt").write_text(prose("secret"))
    (folder / "link.txt").symlink_to(outside / "secret.txt")
    artifact = run(CorpusOptions(pages=folder, workers=1), out=tmp_path / "corpus")
    documents = {row["url"]: row["text"] for row in texts_of(artifact.path)}
    assert sorted(documents) == ["file:a.html", "file:c.txt", "file:deep/b.md"]
    assert documents["file:deep/b.md"].startswith("# Notes\n\n    indented code\n\n")
    assert documents["file:c.txt"].startswith("Café. ")


def test_nothing_to_read_and_nothing_worth_keeping_are_one_sentence(tmp_path, html, write_warc):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="holds no pages"):
        run(CorpusOptions(pages=tmp_path / "nothing"), out=tmp_path / "corpus")
    with pytest.raises(InputError, match="holds no records"):
        run(CorpusOptions(pages=write_warc(tmp_path / "bare.warc.gz", []), workers=1), out=tmp_path / "corpus-bare")
    warc = write_warc(tmp_path / "german.warc.gz", [("http://site/1", html(GERMAN)), ("http://site/2", html("Two words."))])
    with pytest.raises(InputError, match=r"none of the 2 records .* \(.*language=de 1"):
        run(CorpusOptions(pages=warc, workers=1), out=tmp_path / "corpus-german")


def test_senseless_options_are_refused(tmp_path):
    with pytest.raises(OptionError, match="held_out_fraction"):
        run(CorpusOptions(pages=tmp_path, held_out_fraction=1.0), out=tmp_path / "corpus")
    with pytest.raises(OptionError, match="workers"):
        run(CorpusOptions(pages=tmp_path, workers=-1), out=tmp_path / "corpus")


def test_reading_streams_in_stored_order(tmp_path, prose, html, write_warc):
    warc = write_warc(tmp_path / "pages.warc.gz", [(f"http://site/{number}", html(prose(number))) for number in range(25)])
    artifact = run(CorpusOptions(pages=warc, workers=1), out=tmp_path / "corpus")
    batches = list(read_documents(artifact.path, columns=("page_id", "url"), batch_rows=10))
    assert [batch.num_rows for batch in batches] == [10, 10, 5]
    assert batches[0].schema.names == ["page_id", "url"]
    table = pa.Table.from_batches(batches)
    assert table["url"].to_pylist() == sorted(table["url"].to_pylist())
