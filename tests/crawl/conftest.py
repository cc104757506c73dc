from __future__ import annotations

import json

import pytest
from tests.crawl.web import Web

from ropewalk.artifact import Artifact
from ropewalk.crawl import CrawlOptions, run


@pytest.fixture
def new_web():
    """Make servers that close with the test: `new_web(pages)`."""
    webs = []

    def make(pages=None):
        webs.append(Web(pages))
        return webs[-1]

    yield make
    for web in webs:
        web.close()


@pytest.fixture
def crawled(tmp_path):
    """Crawl a web from its root without delay: `crawled(web, max_depth=1)` gives the artifact and its ledger by path."""

    def crawl(web, *, out="pages", **options) -> tuple[Artifact, dict[str, dict]]:
        options = {"sites": (web.url + "/",), "delay_seconds": 0.0, "timeout_seconds": 5.0, **options}
        artifact = run(CrawlOptions(**options), out=tmp_path / out)
        rows = [json.loads(line) for line in (artifact.path / "fetches.jsonl").read_text().splitlines()]
        assert len({row["url"] for row in rows}) == len(rows), "an address has two rows"
        return artifact, {row["url"].removeprefix(web.url): row for row in rows}

    return crawl
