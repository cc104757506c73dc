"""Fetch pages over HTTP, politely, and keep them as WARC files.

Reads: web sites; folders of HTML which it serves to itself on loopback, an Atlas (kind "site") among them; or WARC files
of a Common Crawl, which keep their names. Makes: an artifact of kind "pages":

    pages-00000.warc.gz   WARC 1.1, a gzip member per record, a `warcinfo` first and a `response` per page; the next
                          file begins past 1 GB. Payloads are decoded, and their headers say so as Common Crawl's do
    fetches.jsonl         the ledger: a row for every address considered, with what came of it and the links found

The crawl goes level by level from the seeds and never contacts a host that no seed names. Which pages a page or depth
limit lets in depends on the site alone, not on timing. A page's `page_id` is the same in every crawl that finds the
same bytes at the same address; dates and the order of records are not, so two crawls differ in their digests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt

from ropewalk import __version__
from ropewalk.artifact import Artifact, Part
from ropewalk.config import Estimate, Input, NotContent, Stage, build_stage
from ropewalk.runtime.errors import OptionError

COMMON_CRAWL = "https://data.commoncrawl.org/"
USER_AGENT = f"ropewalk/{__version__} (a research crawler; give your address with --user-agent)"

STAGE = Stage("crawl", "pages", version=2, libraries=("resiliparse", "yarl"))


@dataclass(frozen=True)
class CrawlOptions:
    """Where to crawl, how far, and how gently."""

    sites: tuple[str, ...] = ()
    """Addresses to start from, http:// or https://. Only their hosts (with their ports) are ever contacted."""

    serve: dict[str, str] = field(default_factory=dict)
    """Folders of HTML to serve on loopback and crawl, by the first part of their address: python = "/usr/share/doc/...".
    Without sites, the crawl starts at each of them."""

    site: Annotated[Path | None, Input("site")] = None
    """An artifact made by 'ropewalk atlas' to serve on loopback and crawl, at the root of its host: its robots.txt
    counts."""

    common_crawl: str | None = None
    """A crawl of Common Crawl, like CC-MAIN-2025-05, whose WARC files are taken as they are. Nothing is crawled then: of
    the options below, only those with WARC files in them, timeout_seconds, concurrency (4 at most) and user_agent count."""

    warcs: Annotated[int, Gt(0)] = 1
    """WARC files of the Common Crawl to take, at most: about 1.1 GB and 30,000 pages each."""

    warcs_seed: int | None = None
    """Draw the WARC files with this seed; none given: the first ones of the listing."""

    common_crawl_base: Annotated[str, NotContent()] = COMMON_CRAWL
    """Address below which the Common Crawl's listings and WARC files lie: a mirror's, say."""

    serve_port: Annotated[int, Gt(0), Lt(65536)] = 8470
    """Loopback port for the folders in serve, or for the site. It is part of the pages' addresses, so keep it between
    crawls."""

    max_depth: Annotated[int, Ge(0)] = 20
    """Links followed from a seed, at most. 0 fetches the seeds alone."""

    max_pages: Annotated[int, Gt(0)] = 10_000
    """Pages kept, at most; the nearest to the seeds come first."""

    max_page_bytes: Annotated[int, Gt(0)] = 10_000_000
    """Bytes of a page after decompression, at most. A larger page is dropped, not cut."""

    content_types: tuple[str, ...] = ("text/html", "application/xhtml+xml")
    """Media types to keep, as the server names them; all others are dropped as soon as the headers are read."""

    delay_seconds: Annotated[float, Ge(0), NotContent()] = 1.0
    """Seconds of rest between the end of one request to a host and the start of the next. A longer Crawl-delay in
    robots.txt (up to 60 s) wins. 0 is for your own machine."""

    concurrency: Annotated[int, Gt(0), NotContent()] = 8
    """Requests under way at once, over all hosts. A host with a delay gets one at a time."""

    timeout_seconds: Annotated[float, Gt(0)] = 30.0
    """Seconds a request may take, from the connection to the last byte."""

    retries: Annotated[int, Ge(0)] = 2
    """Further attempts after a failed connection, a timeout or an answer 429, 500, 502, 503 or 504."""

    max_redirects: Annotated[int, Ge(0)] = 5
    """Redirects followed in a row, at most, and only within the hosts given."""

    user_agent: str = USER_AGENT
    """The name under which the crawl asks, also in robots.txt. Put a way to reach you in it."""


def run(options: CrawlOptions, *, out: Path, force: bool = False) -> Artifact:
    """Crawl, or carry on a crawl, or return the one that stands.

    Raises:
        OptionError: no seeds, or one that is not an http address. MachineError: the port for `serve` is taken.
        InputError: a folder to serve is missing, or not a single page could be fetched.
    """
    if not (options.sites or options.serve or options.site or options.common_crawl):
        raise OptionError(
            "ropewalk crawl: nothing to crawl, give --sites https://..., --serve NAME FOLDER, --site DIR, --common-crawl ..."
        )
    if options.common_crawl is not None:
        _check_common_crawl(options)
    if options.site and options.serve:
        raise OptionError("ropewalk crawl: site and serve would share an address, give one of them")
    _check_user_agent(options.user_agent)

    def make(part: Part) -> Mapping[str, Any]:
        if options.common_crawl is not None:
            from ropewalk.crawl.common_crawl import take

            return take(options, part)
        from ropewalk.crawl.crawl import crawl

        return crawl(options, part.folder)

    return build_stage(STAGE, options, out=out, make=make, force=force)


def estimate(options: CrawlOptions, amount: float = 0) -> Estimate:
    """Expect as many pages as allowed, of the size of documentation pages; hosts rest in parallel."""
    if options.common_crawl is not None:
        disk_bytes = options.warcs * BYTES_PER_WARC
        return Estimate(disk_bytes / BYTES_PER_SECOND, disk_bytes, amount=options.warcs * PAGES_PER_WARC)
    hosts = max(1, len(set(options.sites)))
    per_page_seconds = max(1 / PAGES_PER_SECOND, options.delay_seconds / hosts)
    pages = min(options.max_pages, amount) if options.site and amount else options.max_pages
    return Estimate(seconds=pages * per_page_seconds, disk_bytes=pages * DISK_BYTES_PER_PAGE, amount=pages)


PAGES_PER_SECOND = 200.0
DISK_BYTES_PER_PAGE = 9_000.0
BYTES_PER_WARC = 1.1e9
PAGES_PER_WARC = 30_000
BYTES_PER_SECOND = 20e6  # a guess at the line


def _check_common_crawl(options: CrawlOptions) -> None:
    if options.sites or options.serve or options.site:
        raise OptionError("ropewalk crawl: common_crawl goes alone, without sites, serve or site: make two artifacts")
    if not re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*(/[0-9]+)*", str(options.common_crawl)):
        raise OptionError(f"ropewalk crawl: common_crawl is {options.common_crawl!r}: give a name like CC-MAIN-2025-05")
    if not re.match(r"https?://[^/]", options.common_crawl_base):
        raise OptionError(f"ropewalk crawl: common_crawl_base is {options.common_crawl_base!r}: give an http address")


def _check_user_agent(user_agent: str) -> None:
    if not user_agent.strip() or not user_agent.isprintable() or not user_agent.isascii():
        raise OptionError(f"ropewalk crawl: user_agent is {user_agent!r}: give one line of plain ASCII text")
