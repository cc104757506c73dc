from __future__ import annotations

import asyncio
import gzip
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from itertools import pairwise

import pytest
from tests.crawl.web import HTML, Reply, linking

from ropewalk.artifact import verify
from ropewalk.crawl import CrawlOptions, estimate, run
from ropewalk.crawl.warc import Page, read_pages
from ropewalk.runtime.errors import InputError, MachineError, OptionError


def pages_of(artifact) -> dict[str, Page]:
    pages = [page for path in artifact.files(".warc.gz") for page in read_pages(path)]
    assert all(isinstance(page, Page) for page in pages)
    assert len({page.url for page in pages}) == len(pages), "a page is stored twice"
    return {page.url: page for page in pages}


def outcomes(rows) -> dict[str, str]:
    return {path: row["outcome"] for path, row in rows.items()}


def test_a_small_site_comes_in_whole_once_each_with_its_ledger(new_web, crawled):
    web = new_web(
        {"/": linking("/a", "/b#x", "/a#y"), "/a": linking("/", "b"), "/b": linking("/missing", "http://far.away/")}
    )
    artifact, rows = crawled(web)
    assert sorted(web.paths()) == ["/", "/a", "/b", "/missing"]
    assert outcomes(rows) == {"/": "fetched", "/a": "fetched", "/b": "fetched", "/missing": "http_404"}
    assert [rows[path]["depth"] for path in ("/", "/a", "/b", "/missing")] == [0, 1, 1, 2]
    assert rows["/b"]["links"] == [web.url + "/missing", "http://far.away/"]
    pages = pages_of(artifact)
    assert {url: page.page_id for url, page in pages.items()} == {
        row["url"]: row["page_id"] for row in rows.values() if "page_id" in row
    }
    assert pages[web.url + "/a"].payload == web.pages["/a"].body
    assert artifact.facts["pages"] == 3 and artifact.facts["outcomes"] == {"fetched": 3, "http_404": 1}
    assert web.agents == {CrawlOptions().user_agent}
    assert verify(artifact.path) == []


def test_a_loop_that_runs_already_is_no_hindrance(new_web, crawled):
    async def notebook():
        return crawled(new_web({"/": linking("/a"), "/a": linking("/")}))

    _, rows = asyncio.run(notebook())
    assert outcomes(rows) == {"/": "fetched", "/a": "fetched"}


def test_the_same_page_has_the_same_id_in_another_crawl(new_web, crawled):
    web = new_web({"/": linking("/a"), "/a": linking(text="déjà vu")})
    first, _ = crawled(web, out="first")
    second, _ = crawled(web, out="second", delay_seconds=0.01)
    assert {page.page_id for page in pages_of(first).values()} == {page.page_id for page in pages_of(second).values()}


@pytest.mark.parametrize("name", ["ropewalk", "*"])
def test_robots_txt_is_obeyed(new_web, crawled, name):
    rules = f"User-agent: {name}\nDisallow: /private\nAllow: /private/open\n\nUser-agent: other\nDisallow: /\n".encode()
    robots = Reply(b"\xef\xbb\xbf" + rules, headers={})
    web = new_web({"/robots.txt": robots, "/": linking("/private/x", "/private/open", "/x"), "/private/open": linking()})
    _, rows = crawled(web)
    assert outcomes(rows) == {"/": "fetched", "/private/x": "robots", "/private/open": "fetched", "/x": "http_404"}
    assert "/private/x" not in web.paths() and web.asked[0][1] == "/robots.txt" and web.count("/robots.txt") == 1


def test_a_host_whose_robots_txt_fails_is_left_alone(new_web, crawled, capsys):
    web = new_web({"/robots.txt": Reply(status=503), "/": linking("/a")})
    with pytest.raises(InputError, match="not one page"):
        crawled(web, retries=0)
    assert web.paths() == []
    assert capsys.readouterr().err.count("robots.txt cannot be had") == 1
    web.pages["/robots.txt"] = Reply(b"", 404)
    assert crawled(web, retries=0)[0].facts["pages"] == 1, "and the next attempt starts afresh"


def test_pages_may_ask_not_to_be_kept(new_web, crawled):
    hidden = Reply(b"<meta name=robots content=noindex><a href=/b>", headers=HTML)
    tagged = Reply(b"<a href=/c>", headers={**HTML, "X-Robots-Tag": "googlebot: nofollow, noindex"})
    web = new_web({"/": linking("/a", "/tagged"), "/a": hidden, "/b": linking(), "/tagged": tagged})
    artifact, rows = crawled(web)
    assert outcomes(rows) == {"/": "fetched", "/a": "noindex", "/b": "fetched", "/tagged": "noindex", "/c": "http_404"}
    assert web.url + "/a" not in pages_of(artifact)


def test_the_delay_is_kept_between_all_requests_to_a_host(new_web, crawled):
    web = new_web({"/": linking("/a", "/b", "/c"), **{path: linking() for path in ("/a", "/b", "/c")}})
    crawled(web, delay_seconds=0.2)
    times = [at for at, _ in web.asked]
    assert len(times) == 5
    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.2


def test_a_longer_crawl_delay_wins(new_web, crawled):
    robots = Reply(b"User-agent: *\nCrawl-delay: 0.3\n", headers={})
    web = new_web({"/robots.txt": robots, "/": linking("/a", "/b"), "/a": linking(), "/b": linking()})
    crawled(web)
    times = [at for at, path in web.asked if path != "/robots.txt"]
    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.3


def binary_tree(levels: int) -> dict[str, Reply]:
    """Pages /1 to /2**levels - 1, in a tree, each answering after a time of its own."""
    pages = {"/": linking("/1")}
    for number in range(1, 2**levels):
        page = linking(f"/{2 * number}", f"/{2 * number + 1}")
        pages[f"/{number}"] = Reply(page.body, seconds=0.001 * (number * 7 % 13))
    return pages


def test_limits_cut_at_the_same_pages_whatever_the_timing(new_web, crawled):
    web = new_web({**binary_tree(6), "/20": Reply(status=404), "/21": Reply(status=404)})
    kept = []
    for concurrency in (1, 3, 16):
        artifact, rows = crawled(web, out=f"pages{concurrency}", max_pages=25, concurrency=concurrency)
        kept.append({row["url"] for row in rows.values() if row["outcome"] == "fetched"})
        assert len(kept[-1]) == 25
        assert artifact.facts["outcomes"] == {"fetched": 25, "http_404": 2, "page_limit": 5}
    assert kept[0] == kept[1] == kept[2]
    _, rows = crawled(web, out="shallow", max_depth=3)
    assert sorted(rows) == ["/", "/1", "/2", "/3", "/4", "/5", "/6", "/7"]


def test_redirects_stay_at_home(new_web, crawled):
    far = new_web({"/": linking()})
    moved = {
        path: Reply(status=302, headers={"Location": to})
        for path, to in {
            "/away": far.url + "/",
            "/scheme": "ftp://h/",
            "/old": "/new",
            "/older": "old",
            "/secret": "/private",
            "/loop": "/loop?",
            **{f"/r{n}": f"/r{n + 1}" for n in range(9)},
        }.items()
    }
    robots = Reply(b"User-agent: *\nDisallow: /private\n", headers={})
    pages = {"/robots.txt": robots, "/": linking(*moved, "/new"), "/new": linking("/deeper")}
    web = new_web({**pages, **moved})
    artifact, rows = crawled(web, max_redirects=2, max_depth=1)
    assert far.asked == []
    found = outcomes(rows)
    assert found[far.url + "/"] == "off_host" and found["/away"] == found["/old"] == found["/r1"] == "redirect"
    assert (found["/scheme"], found["/private"], found["/new"]) == ("bad_answer", "robots", "fetched")
    assert found["/r9"] == "http_404"
    assert web.count("/new") == 1 and web.count("/private") == 0
    assert sorted(pages_of(artifact)) == [web.url + "/", web.url + "/new"]


def test_a_chain_of_redirects_ends(new_web, crawled):
    web = new_web({f"/r{n}": Reply(status=301, headers={"Location": f"/r{n + 1}"}) for n in range(9)})
    web.pages["/"] = linking("/r0")
    _, rows = crawled(web, max_redirects=2)
    assert outcomes(rows) == {
        "/": "fetched",
        "/r0": "redirect",
        "/r1": "redirect",
        "/r2": "redirect",
        "/r3": "redirect_limit",
    }


def test_hostile_answers_cost_one_row_each(new_web, crawled):
    bomb = gzip.compress(bytes(300_000_000))
    packed = {**HTML, "Content-Encoding": "gzip"}
    hostile = {
        "/big": Reply(b"x" * 200_000),
        "/bomb": Reply(bomb, headers=packed),
        "/cut": Reply(gzip.compress(b"x" * 1000)[:-9], headers=packed),
        "/rot": Reply(b"x", headers={**HTML, "Content-Encoding": "rot13"}),
        "/slow": Reply(b"xx", seconds=3),
        "/image": Reply(b"x", headers={"Content-Type": "image/png"}),
        "/noise": Reply(raw=os.urandom(500)),
        "/hangup": Reply(raw=b""),
        "/short": Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\nshort"),
        "/name": Reply(b"x", headers={**HTML, "X-\xe4": "y"}),
        "/header": Reply(b"x", headers={**HTML, "X-Long": "y" * 100_000}),
        "/untyped": Reply(b"\x89PNG\r\n\x1a\n" + bytes(100), headers={}),
    }
    kind = {
        "/odd": Reply(b"<p>fine \xff", headers={"Content-Type": "TEXT/HTML;; charset='no-such'", "X-Odd": "\xff"}),
        "/zip": Reply(gzip.compress(b"<p>fine"), headers=packed),
    }
    web = new_web({"/": linking(*hostile, *kind), **hostile, **kind})
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    artifact, rows = crawled(web, timeout_seconds=1.0, retries=0, max_page_bytes=100_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 50_000
    found = outcomes(rows)
    assert {found[path] for path in ("/big", "/bomb")} == {"too_large"}
    assert {found[path] for path in ("/cut", "/rot")} == {"undecodable"}
    assert {found[path] for path in ("/image", "/untyped")} == {"content_type"}
    assert (found["/slow"], found["/hangup"], found["/short"]) == ("timeout", "connection", "connection")
    assert [found[path] for path in ("/noise", "/header", "/name")] == ["bad_answer"] * 3
    pages = pages_of(artifact)
    assert pages[web.url + "/odd"].payload == b"<p>fine \xff" and pages[web.url + "/odd"].charset is None
    assert pages[web.url + "/zip"].payload == b"<p>fine"
    assert len(pages) == 3


def test_passing_failures_are_tried_again(new_web, crawled):
    def busy(count: int) -> Reply:
        return Reply(status=503, headers={"Retry-After": "1"}) if count == 1 else linking(text="now")

    def broken(count: int) -> Reply:
        return Reply(raw=b"") if count == 1 else linking(text="now")

    web = new_web({"/": linking("/busy", "/broken", "/never"), "/busy": busy, "/broken": broken})
    web.pages["/never"] = Reply(status=429, headers={"Retry-After": "999999"})
    _, rows = crawled(web)
    assert outcomes(rows) == {"/": "fetched", "/busy": "fetched", "/broken": "fetched", "/never": "http_429"}
    first, second = (at for at, path in web.asked if path == "/busy")
    assert second - first >= 1 and web.count("/never") == 1


CRAWL = """
import sys
from pathlib import Path
from ropewalk.crawl import CrawlOptions, run
run(CrawlOptions(sites=(sys.argv[1],), delay_seconds=0.0, concurrency=4, max_pages=100), out=Path(sys.argv[2]))
"""


def test_a_killed_crawl_carries_on_and_asks_for_no_page_twice(new_web, tmp_path):
    """Killed five times, once more with the ends of both files torn."""
    web = new_web(binary_tree(7))
    part = tmp_path / "pages.part"
    for kill in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", CRAWL, web.url + "/", str(tmp_path / "pages")], stderr=subprocess.DEVNULL
        )
        asked = len(web.asked)
        while len(web.asked) < asked + 12 and process.poll() is None:
            time.sleep(0.002)
        assert process.poll() is None, "it was to be killed half way"
        process.send_signal(signal.SIGKILL)
        process.wait()
        if kill == 3:
            for name in ("fetches.jsonl", "pages-00000.warc.gz"):
                with (part / name).open("ab") as file:
                    file.write(b'{"url": "http://torn')
    done = {
        json.loads(line)["url"]
        for line in (part / "fetches.jsonl").read_text().splitlines(keepends=True)
        if line.endswith("\n")
    }
    asked = len(web.asked)
    artifact = run(
        CrawlOptions(sites=(web.url + "/",), delay_seconds=0.0, concurrency=4, max_pages=100), out=tmp_path / "pages"
    )
    assert not {web.url + path for _, path in web.asked[asked:] if path != "/robots.txt"} & done
    killed = pages_of(artifact)
    assert all(web.count(url.removeprefix(web.url)) <= 6 for url in killed)
    assert len(web.paths()) <= len(killed) + artifact.facts["outcomes"].get("http_404", 0) + 5 * 4
    undisturbed = run(CrawlOptions(sites=(web.url + "/",), delay_seconds=0.0, max_pages=100), out=tmp_path / "again")
    assert killed.keys() == pages_of(undisturbed).keys()
    assert undisturbed.facts == artifact.facts


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_folders_are_served_to_ourselves(tmp_path):
    docs = tmp_path / "docs"
    (docs / "sub dir").mkdir(parents=True)
    (tmp_path / "secret.html").write_text("kept out")
    (docs / "out.html").symlink_to(tmp_path / "secret.html")
    (docs / "in.html").symlink_to(docs / "sub dir" / "a&b.html")
    (docs / "sub dir" / "a&b.html").write_text(
        "<a href='../../../secret.html'><a href=/docs/%2e%2e/secret.html><a href='c.html'>"
    )
    (docs / "sub dir" / "index.html").write_text("<p>index")
    (docs / "plain.txt").write_text("text")
    port = free_port()
    options = CrawlOptions(serve={"docs": str(docs)}, serve_port=port, delay_seconds=0.0)
    artifact = run(options, out=tmp_path / "pages")
    root = f"http://127.0.0.1:{port}/docs/"
    pages = pages_of(artifact)
    assert sorted(pages) == [root + "in.html", root + "sub%20dir/"]
    assert pages[root + "in.html"].last_modified is not None
    assert artifact.facts["outcomes"]["noindex"] == 1, "the listing is followed, not kept"
    assert b"kept out" not in b"".join(page.payload for page in pages.values())


def test_what_cannot_be_crawled_is_one_clear_sentence(tmp_path):
    def refused(kind, match, **options):
        with pytest.raises(kind, match=match):
            run(CrawlOptions(**options), out=tmp_path / "pages", force=True)

    refused(OptionError, "nothing to crawl")
    refused(OptionError, "whole addresses", sites=("example.org",))
    refused(OptionError, "user_agent", sites=("http://h/",), user_agent="a\r\nX: y")
    refused(OptionError, "letters, digits", serve={"a/b": str(tmp_path)})
    refused(OptionError, "max_pages", sites=("http://h/",), max_pages=0)
    refused(InputError, "make docs-pages", serve={"x": "/usr/share/doc/no-such-package"})
    refused(InputError, "there is no folder", serve={"x": str(tmp_path / "none")})
    refused(
        InputError,
        "not one page could be kept.*1 robots_unreachable",
        sites=(f"http://127.0.0.1:{free_port()}/",),
        retries=0,
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused(MachineError, "--serve-port", serve={"x": str(tmp_path)}, serve_port=taken.getsockname()[1])


def test_a_full_disk_loses_nothing(new_web, tmp_path):
    """Files may not pass 20 kB: the crawl stops with the system's own error, and carries on once there is room."""
    noise = "".join(f"&#{65 + os.urandom(1)[0] % 26};" for _ in range(3000))
    web = new_web({"/": linking(*(f"/{n}" for n in range(8))), **{f"/{n}": linking(text=noise[n:]) for n in range(8)}})
    script = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    script += "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n" + CRAWL
    command = [sys.executable, "-c", script, web.url + "/", str(tmp_path / "pages")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("OSError: [Errno 27] File too large")
    artifact = run(
        CrawlOptions(sites=(web.url + "/",), delay_seconds=0.0, concurrency=4, max_pages=100), out=tmp_path / "pages"
    )
    assert len(pages_of(artifact)) == 9
    assert 1 <= sum(web.count(f"/{n}") == 1 for n in range(8)) < 8


def test_the_estimate_is_the_slower_of_rest_and_machine():
    assert estimate(CrawlOptions(sites=("http://h/",), max_pages=100)).seconds == 100
    assert estimate(CrawlOptions(serve={"x": "y"}, max_pages=100, delay_seconds=0.0)).seconds < 2


def test_an_atlas_is_served_at_the_root_of_its_host_and_its_robots_txt_counts(tmp_path):
    from ropewalk.atlas import AtlasOptions
    from ropewalk.atlas import run as write_atlas

    sizes = {"pages_per_country": 1, "junk_pages": 1, "python_pages": 0, "conversations": 1, "tasks": 1}
    site = write_atlas(AtlasOptions(**sizes), out=tmp_path / "site")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = CrawlOptions(site=site.path, serve_port=port, delay_seconds=0.0, max_pages=1_800)
    artifact = run(options, out=tmp_path / "pages")
    urls = set(pages_of(artifact))
    assert f"http://127.0.0.1:{port}/continents/africa.html" in urls
    assert len(urls) == 1_800
    fates = [json.loads(line) for line in (artifact.path / "fetches.jsonl").read_text().splitlines()]
    drafts = [row for row in fates if "/drafts/" in row["url"]]
    assert {row["outcome"] for row in drafts} == {"robots"}
    with pytest.raises(OptionError, match="share an address"):
        run(CrawlOptions(site=site.path, serve={"x": str(tmp_path)}), out=tmp_path / "both")
