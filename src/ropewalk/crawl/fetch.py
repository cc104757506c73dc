"""Ask for one address: allowed hosts only, robots.txt first, each host at its pace, every answer bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from ropewalk.crawl import CrawlOptions
from ropewalk.crawl.decode import TooLargeError, UndecodableError, decode_content
from ropewalk.crawl.robots import FRESH_SECONDS, READ_AT_MOST_BYTES, Rules, rules_from
from ropewalk.crawl.urls import host_of, normalise
from ropewalk.runtime.progress import say

ACCEPT_ENCODING = "gzip, deflate"
REDIRECTS = (301, 302, 303, 307, 308)
TRANSIENT = ("timeout", "connection", "http_429", "http_500", "http_502", "http_503", "http_504")
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 120.0
HEADER_BYTES = 64 * 1024
RENAMED = {b"content-encoding", b"transfer-encoding", b"content-length"}


@dataclass(frozen=True)
class Answer:
    """What came back. outcome: as in a ledger's row; "fetched" has a payload, "redirect" a target.

    head: status line and headers as they belong before the decoded payload in a WARC record.
    """

    outcome: str
    note: str = ""
    status: int | None = None
    payload: bytes = b""
    content_type: str = ""
    charset: str | None = None
    robots_tag: str = ""
    head: bytes = b""
    target: str | None = None
    retry_after_seconds: float = 0.0


@dataclass
class Host:
    """One host's pace and rules."""

    name: str
    delay_seconds: float
    slots: asyncio.Semaphore
    rules: Rules | None = None
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    ready_at: float = 0.0


class Fetcher:
    """Fetch addresses on the hosts given, and on no other."""

    def __init__(self, session: aiohttp.ClientSession, options: CrawlOptions, hosts: Iterable[str]) -> None:
        self.session, self.options = session, options
        self.robots_name = options.user_agent.split()[0].split("/")[0]
        self.slots = asyncio.Semaphore(options.concurrency)
        per_host = 1 if options.delay_seconds > 0 else options.concurrency
        self.hosts = {name: Host(name, options.delay_seconds, asyncio.Semaphore(per_host)) for name in hosts}

    async def fetch(self, url: str) -> Answer:
        """Ask for `url` once robots.txt allows it, again after passing failures; never raises for what a host does."""
        host = self.hosts.get(host_of(url))
        if host is None:
            return Answer("off_host")
        rules = await self._rules(host)
        if not rules.allow(url, self.robots_name):
            return Answer("robots" if rules.reachable else "robots_unreachable")
        return await self._persist(host, url, self.options.content_types, self.options.max_page_bytes)

    async def _rules(self, host: Host) -> Rules:
        async with host.asking:
            now = time.monotonic()
            if host.rules is None or now - host.rules.fetched_at > FRESH_SECONDS:
                host.rules = await self._ask_for_rules(host)
                asked_seconds = host.rules.delay_seconds(self.robots_name)
                if asked_seconds > host.delay_seconds:
                    say(f"{host.name} asks for {asked_seconds:g} s between requests, and gets them")
                    host.delay_seconds = asked_seconds
                    host.slots = asyncio.Semaphore(1)
            return host.rules

    async def _ask_for_rules(self, host: Host) -> Rules:
        url: str | None = host.name + "/robots.txt"
        answer = Answer("connection")
        for _ in range(self.options.max_redirects + 1):
            target = self.hosts.get(host_of(url)) if url else None
            if url is None or target is None:
                answer = Answer("off_host", f"it is redirected to {url}, add that to the sites if you mean it")
                break
            answer = await self._persist(target, url, None, READ_AT_MOST_BYTES * 20)
            if answer.outcome != "redirect":
                break
            url = answer.target
        rules = rules_from(answer.status, answer.payload, now=time.monotonic())
        if not rules.reachable:
            say(f"{host.name}: robots.txt cannot be had ({answer.note or answer.outcome}), so nothing is fetched there")
        return rules

    async def _persist(self, host: Host, url: str, content_types: tuple[str, ...] | None, limit_bytes: int) -> Answer:
        """One address, with further attempts after what may pass."""
        backoff_seconds = FIRST_BACKOFF_SECONDS
        for attempt in range(self.options.retries + 1):
            async with host.slots:
                await self._rest(host)
                async with self.slots:
                    answer = await self._once(url, content_types, limit_bytes)
                host.ready_at = max(host.ready_at, time.monotonic() + host.delay_seconds)
            wait_seconds = max(backoff_seconds, answer.retry_after_seconds)
            last = attempt == self.options.retries or wait_seconds > LONGEST_WAIT_SECONDS
            if answer.outcome not in TRANSIENT or last:
                return answer
            if answer.retry_after_seconds:  # it speaks for the host, not for the page
                host.ready_at = max(host.ready_at, time.monotonic() + wait_seconds)
            else:
                await asyncio.sleep(wait_seconds)
            backoff_seconds *= 2
        raise AssertionError("the last attempt returns")

    async def _rest(self, host: Host) -> None:
        now = time.monotonic()
        start = max(now, host.ready_at)
        host.ready_at = start + host.delay_seconds
        if start > now:
            await asyncio.sleep(start - now)

    async def _once(self, url: str, content_types: tuple[str, ...] | None, limit_bytes: int) -> Answer:
        timeout = aiohttp.ClientTimeout(total=self.options.timeout_seconds)
        try:
            async with self.session.get(URL(url, encoded=True), allow_redirects=False, timeout=timeout) as response:
                return await _read_answer(response, url, content_types, limit_bytes)
        except TimeoutError:
            return Answer("timeout", f"after {self.options.timeout_seconds:g} s")
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as error:
            return Answer("connection", _short(error))
        except (aiohttp.ClientError, ValueError) as error:
            return Answer("bad_answer", _short(error))


def new_session(options: CrawlOptions) -> aiohttp.ClientSession:
    """A client that keeps no cookies, decompresses nothing by itself, and takes no proxy from the environment."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=options.concurrency),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        max_line_size=HEADER_BYTES,
        max_field_size=HEADER_BYTES,
        headers={
            "User-Agent": options.user_agent,
            "Accept": ", ".join((*options.content_types, "*/*;q=0.1")),
            "Accept-Encoding": ACCEPT_ENCODING,
        },
    )


async def _read_answer(
    response: aiohttp.ClientResponse, url: str, content_types: tuple[str, ...] | None, limit_bytes: int
) -> Answer:
    """Judge the headers, then read the body as far as it is wanted."""
    status, headers = response.status, response.headers
    if status in REDIRECTS and "Location" in headers:
        target = normalise(headers["Location"], url)
        if target is None:
            return Answer("bad_answer", "redirect to no http address", status)
        return Answer("redirect", status=status, target=target)
    if status != 200:
        return Answer(f"http_{status}", status=status, retry_after_seconds=retry_after(headers.get("Retry-After", "")))
    content_type, charset = _content_type(headers.get("Content-Type", ""))
    if content_type and content_types is not None and content_type not in content_types:
        return Answer("content_type", content_type, status)
    raw = bytearray()
    async for chunk in response.content.iter_any():
        raw += chunk
        if len(raw) > limit_bytes:
            return Answer("too_large", f"over {limit_bytes:,} bytes", status)
    try:
        payload = decode_content(bytes(raw), ",".join(headers.getall("Content-Encoding", ())), limit_bytes=limit_bytes)
    except TooLargeError:
        return Answer("too_large", f"over {limit_bytes:,} bytes", status)
    except UndecodableError as error:
        return Answer("undecodable", str(error), status)
    if not content_type and content_types is not None:
        content_type = _sniffed(payload)
        if content_type not in content_types:
            return Answer("content_type", content_type, status)
    return Answer(
        "fetched",
        status=status,
        payload=payload,
        content_type=content_type,
        charset=charset,
        robots_tag=_robots_tag(headers.getall("X-Robots-Tag", ())),
        head=_head(response, len(payload)),
    )


def _head(response: aiohttp.ClientResponse, payload_bytes: int) -> bytes:
    """Headers that agree with the decoded payload; what the server said of its encoding keeps the name X-Crawl-..."""
    version = response.version or aiohttp.HttpVersion11
    lines = [f"HTTP/{version.major}.{version.minor} {response.status} {response.reason or ''}".encode("latin-1", "replace")]
    for name, value in response.raw_headers:
        name = b"X-Crawl-" + name if name.lower() in RENAMED else name
        lines.append(name + b": " + value.replace(b"\r", b" ").replace(b"\n", b" "))
    lines.append(b"Content-Length: %d" % payload_bytes)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _content_type(header: str) -> tuple[str, str | None]:
    """Media type and charset of a Content-Type header, however sloppy."""
    from ropewalk.crawl.warc import known_charset

    media_type, _, parameters = header.partition(";")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return media_type.strip().lower(), known_charset(value)
    return media_type.strip().lower(), None


def _sniffed(payload: bytes) -> str:
    from resiliparse.parse.encoding import detect_mime

    return detect_mime(payload[:4096])


def _robots_tag(headers: Iterable[str]) -> str:
    """The X-Robots-Tag rules meant for everybody: 'googlebot: noindex' is for another robot."""
    return ",".join(rule for header in headers for rule in header.split(",") if ":" not in rule)


def retry_after(header: str) -> float:
    """Seconds from now, given as such or as a date; 0 if neither."""
    if header.strip().isdigit():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _short(error: Exception) -> str:
    """One line of an error that may quote whatever the host sent."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
