"""A small Common Crawl on loopback that does what the large one does to those who fetch from it."""

from __future__ import annotations

import gzip
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.crawl.files import Files

from ropewalk.artifact import Artifact
from ropewalk.corpus.records import find_sources
from ropewalk.corpus.rows import Columns
from ropewalk.crawl import CrawlOptions, common_crawl, run
from ropewalk.crawl.common_crawl import choose
from ropewalk.crawl.ledger import LEDGER, read_ledger
from ropewalk.crawl.warc import encode_response
from ropewalk.runtime.errors import InputError, OptionError

LISTING = "/crawl-data/CC-MAIN-2025-05/warc.paths.gz"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"


def path_of(number: int) -> str:
    return f"crawl-data/CC-MAIN-2025-05/segments/17.{number}/warc/CC-MAIN-20250112-{number:05d}.warc.gz"


@pytest.fixture
def web(monkeypatch) -> Iterator[Files]:
    """Six WARC files of about 100 kB that do not compress, and their listing."""
    monkeypatch.setattr(common_crawl, "FIRST_BACKOFF_SECONDS", 0.001)
    random_bytes = random.Random(0).randbytes
    files = {
        "/" + path_of(number): b"".join(
            encode_response(f"http://site/{number}/{page}", HEAD, random_bytes(10_000), content_type="text/html")
            for page in range(10)
        )
        for number in range(6)
    }
    files[LISTING] = gzip.compress("".join(path_of(number) + "\n" for number in range(6)).encode())
    served = Files(files)
    yield served
    served.close()


def take(web: Files, out: Path, **options) -> Artifact:
    given = {"warcs": 2, "timeout_seconds": 5.0, **options}
    return run(CrawlOptions(common_crawl="CC-MAIN-2025-05", common_crawl_base=web.url, **given), out=out)


def assert_taken(artifact: Artifact, web: Files, numbers: list[int]) -> None:
    """The artifact holds just these files, byte for byte, and its ledger says so."""
    paths = [path_of(number) for number in numbers]
    files = {path.name: path.read_bytes() for path in artifact.files(".warc.gz")}
    assert files == {path.rpartition("/")[2]: web.files["/" + path] for path in paths}
    rows = [row for row, _ in read_ledger(artifact.path / LEDGER)]
    assert [(row.url, row.bytes, row.outcome) for row in rows] == [
        (f"https://data.commoncrawl.org/{path}", len(web.files["/" + path]), "fetched") for path in paths
    ]
    assert artifact.facts["warcs"] == len(paths) and artifact.facts["bytes"] == sum(map(len, files.values()))


def test_the_first_files_of_the_listing_become_pages_that_the_corpus_reads(tmp_path, web):
    artifact = take(web, tmp_path / "pages")
    assert artifact.kind == "pages"
    assert_taken(artifact, web, [0, 1])
    urls = [record.url for source in find_sources(artifact.path, Columns()) for record in source.records(10**6)]
    assert urls == [f"http://site/{number}/{page}" for number in range(2) for page in range(10)]
    assert take(web, tmp_path / "again").digest == artifact.digest
    assert_taken(take(web, tmp_path / "all", warcs=100), web, list(range(6)))


def test_a_seed_draws_files_and_more_are_the_same_and_others():
    paths = [path_of(number) for number in range(500)]
    drawn = choose(paths, 50, 7)
    assert (
        drawn == choose(paths, 50, 7) == sorted(drawn, key=paths.index)
        and drawn != choose(paths, 50, 8)
        and len(drawn) == 50
    )
    assert set(drawn) < set(choose(paths, 100, 7))
    assert choose(paths, 3, None) == paths[:3]


def test_cut_connections_and_busy_answers_cost_no_byte_twice(tmp_path, web):
    web.cut = lambda: 30_000
    web.status = lambda path, number: (503, 429, 200)[number % 3]
    artifact = take(web, tmp_path / "pages")
    assert_taken(artifact, web, [0, 1])
    assert web.sent_bytes == len(web.files[LISTING]) + artifact.facts["bytes"]
    assert any(asked == "bytes=30000-" and condition == '"one"' for _, asked, condition in web.asked)


def test_a_date_serves_where_there_is_no_strong_etag(tmp_path, web):
    web.cut = lambda: 30_000
    web.etag, web.modified = 'W/"weak"', "Wed, 22 Jan 2025 07:28:00 GMT"
    artifact = take(web, tmp_path / "pages")
    assert_taken(artifact, web, [0, 1])
    assert web.sent_bytes == len(web.files[LISTING]) + artifact.facts["bytes"]


@pytest.mark.parametrize("lack", ["ranges", "validators"])
def test_without_ranges_or_versions_a_file_is_fetched_anew(tmp_path, web, lack):
    web.ranges = lack != "ranges"
    web.etag = '"one"' if lack != "validators" else ""
    cuts = iter([None, 30_000, 60_000, None])
    web.cut = lambda: next(cuts, None)
    artifact = take(web, tmp_path / "pages", warcs=1)
    assert_taken(artifact, web, [0])
    assert web.sent_bytes == len(web.files[LISTING]) + 90_000 + artifact.facts["bytes"]


@pytest.mark.parametrize("honest", [True, False])
def test_a_file_that_changes_between_attempts_is_never_mixed(tmp_path, web, honest):
    """Also by a server that passes over If-Range and sends the rest of the new file."""
    web.if_range = honest
    path = "/" + path_of(0)
    old = web.files[path]

    def cut() -> int | None:
        if web.asked[-1][0] != path or web.files[path] is not old:
            return None
        web.files[path], web.etag = old[:2] + old[:1:-1][:90_000], '"two"'
        return 30_000

    web.cut = cut
    assert_taken(take(web, tmp_path / "pages", warcs=1), web, [0])
    assert [asked for name, asked, _ in web.asked if name == path][:2] == [None, "bytes=30000-"]


def test_a_killed_download_carries_on_where_it_was(tmp_path, web):
    path = "/" + path_of(1)
    web.stalled.clear()
    web.cut = lambda: 40_000 if web.asked[-1][0] == path else None
    script = tmp_path / "script.py"
    script.write_text(f"""
from pathlib import Path
from ropewalk.crawl import CrawlOptions, run
run(CrawlOptions(common_crawl="CC-MAIN-2025-05", common_crawl_base={web.url!r}, warcs=3, concurrency=1), out=Path("pages"))
""")
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL, cwd=tmp_path)
    draft = tmp_path / "pages.part" / "scratch" / (path.rpartition("/")[2] + ".part")
    deadline = time.monotonic() + 60
    while not (draft.is_file() and draft.stat().st_size == 40_000):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    web.cut, before = lambda: None, len(web.asked)
    assert_taken(take(web, tmp_path / "pages", warcs=3, timeout_seconds=30.0), web, [0, 1, 2])
    assert sorted(web.asked[before:]) == [(path, "bytes=40000-", '"one"'), ("/" + path_of(2), None, None)]


def test_a_server_that_never_gives_is_left_and_taken_up_later(tmp_path, web, monkeypatch):
    monkeypatch.setattr(common_crawl, "BARREN_ATTEMPTS", 3)
    web.status = lambda path, number: 200 if path in (LISTING, "/" + path_of(0)) else 503
    with pytest.raises(InputError, match=r"00001.warc.gz cannot be had \(it answers 503\): .* carries on"):
        take(web, tmp_path / "pages")
    assert 3 <= sum(path == "/" + path_of(1) for path, *_ in web.asked) <= 4
    before = len(web.asked)
    web.status = lambda path, number: 200
    assert_taken(take(web, tmp_path / "pages"), web, [0, 1])
    assert [path for path, *_ in web.asked[before:]] == ["/" + path_of(1)]


def test_what_is_no_warc_file_of_known_length_is_refused(tmp_path, web):
    web.files["/" + path_of(0)] = b"<html>Please log in to this network</html>"
    with pytest.raises(InputError, match="is not a gzip file"):
        take(web, tmp_path / "pages")
    web.with_length = False
    with pytest.raises(InputError, match="without a length"):
        take(web, tmp_path / "none")


def test_hostile_listings_are_refused(tmp_path, web):
    for listing in (
        b"crawl-data/../../../etc/x.warc.gz",
        b"/etc/x.warc.gz",
        b"https://elsewhere/x.warc.gz",
        b"a/x.warc.gz\nb/x.warc.gz",
        b"a/manifest.json",
        b"",
        b"a/\xc3\xa4.warc.gz",
    ):
        web.files[LISTING] = gzip.compress(listing)
        with pytest.raises(InputError, match=r"warc.paths.gz"):
            take(web, tmp_path / "pages")
    assert {path for path, *_ in web.asked} == {LISTING}
    web.files[LISTING] = gzip.compress(path_of(0).encode())
    assert_taken(take(web, tmp_path / "pages"), web, [0])


def test_senseless_options_are_refused_before_anything_is_asked(tmp_path, web):
    for options in (
        {"common_crawl": "../secrets"},
        {"common_crawl": "CC-MAIN-2025-05", "sites": ("http://site/",)},
        {"common_crawl": "CC-MAIN-2025-05", "common_crawl_base": "ftp://x/"},
    ):
        with pytest.raises(OptionError, match="common_crawl"):
            run(CrawlOptions(**options), out=tmp_path / "pages")
    with pytest.raises(InputError, match="answers 404: check the name of the crawl"):
        run(CrawlOptions(common_crawl="CC-MAIN-1999-01", common_crawl_base=web.url), out=tmp_path / "pages")
