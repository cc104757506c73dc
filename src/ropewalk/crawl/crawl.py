"""Crawl breadth first: level by level, each level's addresses in a fixed order, each fate in the ledger.

A redirect is a link that costs no depth: its target joins its level's next round, where it meets the same rules and the
same check against what was fetched already. So an address is asked for once, and every answer belongs to one address.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

from ropewalk import __version__
from ropewalk.crawl import CrawlOptions
from ropewalk.crawl.fetch import Answer, Fetcher, new_session
from ropewalk.crawl.ledger import FETCHED, LEDGER, Ledger, Row, read_ledger
from ropewalk.crawl.links import find_links
from ropewalk.crawl.site import ROOT, check_folders, serving, site_url
from ropewalk.crawl.urls import host_of, normalise
from ropewalk.crawl.warc import Place, WarcWriter, encode_response, page_id
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.runtime.loops import complete
from ropewalk.runtime.progress import Bar, progress, size


class Frontier:
    """What is known of the site: addresses done, and those found but not yet considered, by level.

    It is a function of the ledger's rows, whether they are read back or just made.
    """

    def __init__(self, seeds: Iterable[str], *, max_depth: int) -> None:
        self.max_depth = max_depth
        self.hosts = {host_of(seed) for seed in seeds}
        self.found: dict[tuple[int, int], set[str]] = defaultdict(set)
        self.found[0, 0].update(seeds)
        self.done: dict[str, tuple[int, int]] = {}  # in which round an address was considered
        self.outcomes: Counter[str] = Counter()
        self.pages_by_host: Counter[str] = Counter()
        self.bytes = 0

    @property
    def pages(self) -> int:
        return self.outcomes[FETCHED]

    def note(self, row: Row) -> None:
        self.done[row.url] = (row.depth, row.hop)
        self.outcomes[row.outcome] += 1
        if row.outcome == FETCHED:
            self.pages_by_host[host_of(row.url)] += 1
            self.bytes += row.bytes
        if row.outcome == "redirect":
            self.found[row.depth, row.hop + 1].update(row.links)
        elif row.depth < self.max_depth:
            self.found[row.depth + 1, 0].update(link for link in row.links if host_of(link) in self.hosts)

    def take(self, depth: int, hop: int) -> list[str]:
        """The addresses of a round that are still to consider, in order: by turns for each host, then by name.

        Turns are counted over the whole round, those considered before an interruption included, so that a resumed crawl
        goes on in the order of an undisturbed one.
        """
        turn: Counter[str] = Counter()
        ordered = []
        for url in sorted(self.found.pop((depth, hop), set())):
            if self.done.get(url, (depth, hop)) == (depth, hop):
                ordered.append((turn[host_of(url)], url))
                turn[host_of(url)] += 1
        return [url for _, url in sorted(ordered) if url not in self.done]


def crawl(options: CrawlOptions, folder: Path) -> dict[str, Any]:
    """Crawl into `folder`, carrying on from what its ledger says. Returns the facts."""
    folders = check_folders(options.serve)
    if options.site is not None:
        folders = {ROOT: options.site.resolve() / "web"}
    frontier = Frontier(seeds_of(options), max_depth=options.max_depth)
    last, length_bytes = _replay(folder / LEDGER, frontier)
    info = {
        "software": f"ropewalk/{__version__}",
        "format": "WARC File Format 1.1",
        "http-header-user-agent": options.user_agent,
        "robots": "obey",
    }
    with (
        closing(WarcWriter(folder, info, last=last)) as writer,
        closing(Ledger(folder / LEDGER, length_bytes=length_bytes)) as ledger,
        progress("crawl", total=None, unit="pages", done=frontier.pages) as bar,
    ):
        _run(Crawl(options, frontier, writer, ledger, bar), folders)
    if frontier.pages == 0:
        _refuse_empty(folder, frontier)
    return {
        "pages": frontier.pages,
        "bytes": frontier.bytes,
        "outcomes": dict(sorted(frontier.outcomes.items())),
        "hosts": dict(sorted(frontier.pages_by_host.items())),
    }


def seeds_of(options: CrawlOptions) -> list[str]:
    """Where the crawl starts, normalised.

    Raises:
        OptionError: a site that is not an http address.
    """
    served = [ROOT] if options.site is not None else list(options.serve)
    sites = options.sites or tuple(site_url(name, options.serve_port) for name in served)
    seeds = {site: normalise(site) for site in sites}
    for site, seed in seeds.items():
        if seed is None:
            raise OptionError(f"ropewalk crawl: sites has {site!r}: give whole addresses, like https://example.org/")
    return sorted({seed for seed in seeds.values() if seed})


class Crawl:
    """One run over a frontier."""

    def __init__(self, options: CrawlOptions, frontier: Frontier, writer: WarcWriter, ledger: Ledger, bar: Bar) -> None:
        self.options, self.frontier, self.writer, self.ledger, self.bar = options, frontier, writer, ledger, bar

    async def walk(self, fetcher: Fetcher) -> None:
        """All levels, each with its rounds of redirects."""
        for depth in range(self.options.max_depth + 1):
            for hop in range(self.options.max_redirects + 2):
                await self._round(fetcher, self.frontier.take(depth, hop), depth, hop)
            if self.frontier.pages >= self.options.max_pages:
                return

    async def _round(self, fetcher: Fetcher, urls: list[str], depth: int, hop: int) -> None:
        """Fetch in slices no larger than the pages still wanted, so that the limit cuts at the same address every time."""
        if hop > self.options.max_redirects:
            for url in urls:
                self._settle(Row(url, depth, hop, "redirect_limit"))
            return
        while urls:
            room = self.options.max_pages - self.frontier.pages
            if room <= 0:
                for url in urls:
                    self._settle(Row(url, depth, hop, "page_limit"))
                return
            slice_, urls = urls[:room], urls[room:]
            await self._fetch_all(fetcher, slice_, depth, hop)

    async def _fetch_all(self, fetcher: Fetcher, urls: list[str], depth: int, hop: int) -> None:
        queues: dict[str, deque[str]] = defaultdict(deque)
        for url in urls:
            queues[host_of(url)].append(url)
        left = len(urls)

        async def work(queue: deque[str]) -> None:
            nonlocal left
            while queue:
                url = queue.popleft()
                self._receive(url, await fetcher.fetch(url), depth, hop)
                left -= 1
                self.bar.advance(0, f"level {depth}, {left:,} addresses left in it, {size(self.frontier.bytes)}")

        async with asyncio.TaskGroup() as group:
            for queue in queues.values():
                for _ in range(min(self.options.concurrency, len(queue))):
                    group.create_task(work(queue))

    def _receive(self, url: str, answer: Answer, depth: int, hop: int) -> None:
        """Store a page and settle its address; no await in here, so nothing comes between record and row."""
        if answer.outcome != FETCHED:
            links = (answer.target,) if answer.target else ()
            self._settle(Row(url, depth, hop, answer.outcome, answer.note, answer.status, links=links))
            return
        links = find_links(answer.payload, url=url, charset=answer.charset, robots=answer.robots_tag)
        if not links.keep:
            self._settle(Row(url, depth, hop, "noindex", status=answer.status, links=links.urls))
            return
        record = encode_response(url, answer.head, answer.payload, content_type=answer.content_type)
        place = self.writer.write(record)
        row = Row(
            url,
            depth,
            hop,
            FETCHED,
            status=answer.status,
            bytes=len(answer.payload),
            page_id=page_id(url, answer.payload),
            place=place,
            links=links.urls,
        )
        self._settle(row)
        self.bar.advance(1)

    def _settle(self, row: Row) -> None:
        self.ledger.add(row)
        self.frontier.note(row)


def _run(work: Crawl, folders: Mapping[str, Path]) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            if folders:
                await stack.enter_async_context(serving(folders, work.options.serve_port))
            session = await stack.enter_async_context(new_session(work.options))
            await work.walk(Fetcher(session, work.options, work.frontier.hosts))

    try:
        complete(main())
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(error: BaseException) -> BaseException:
    """The error that stopped the crawl, out of the group that asyncio wraps it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _replay(path: Path, frontier: Frontier) -> tuple[Place | None, int]:
    """Tell the frontier what the ledger says. Returns the last record's place, and the ledger's good length in bytes."""
    last, length_bytes = None, 0
    for row, end in read_ledger(path):
        frontier.note(row)
        last, length_bytes = row.place or last, end
    return last, length_bytes


def _refuse_empty(folder: Path, frontier: Frontier) -> None:
    """A crawl without pages is no artifact; the next attempt starts afresh."""
    why = next((f" ({row.note})" for row, _ in read_ledger(folder / LEDGER) if row.note), "")
    (folder / LEDGER).unlink()
    counts = ", ".join(f"{count:,} {outcome}" for outcome, count in frontier.outcomes.most_common(5))
    hosts = ", ".join(sorted(frontier.hosts)[:5])
    raise InputError(f"ropewalk crawl: not one page could be kept from {hosts}: {counts}{why}; check the sites, try again")
