"""One spelling for one address, so that a page is not fetched twice."""

from __future__ import annotations

import re
from urllib.parse import urljoin

from yarl import URL

LONGEST_CHARS = 2000
_REMOVED = re.compile(r"[\t\n\r]")
_AUTHORITY = re.compile(r"(?:[a-zA-Z][a-zA-Z0-9+.-]*:)?//(?:[^/?#]*@)?([^/?#]*)")


def normalise(address: str, base: str | None = None) -> str | None:
    """Resolve `address` against `base` and write it the one way we ask for it; None if it is not an http address.

    Host in lower case and punycode, default port and fragment off, dot segments resolved, escapes in one spelling.
    Addresses with a user name are refused: credentials do not belong in a corpus.
    """
    address = _REMOVED.sub("", address.strip())
    if len(address) > LONGEST_CHARS:
        return None
    try:
        url = URL(urljoin(base, address) if base else address).with_fragment(None)
        if url.scheme not in ("http", "https") or not url.host or url.raw_user is not None:
            return None
        if not _is_host(url.raw_host or ""):
            return None
        if url.explicit_port is not None and url.is_default_port():
            url = url.with_port(None)
        if url.raw_path == "/":  # also what it says of no path at all
            url = url.with_path("/", keep_query=True)
        text = str(url)
        text.encode("ascii")
    except ValueError:  # UnicodeError is one: a host that has no punycode, a lone surrogate
        return None
    return text if len(text) <= LONGEST_CHARS else None


def host_of(url: str) -> str:
    """Scheme, host and port of a normalised address: what the crawl is allowed to contact, and what robots.txt covers."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split('[/?]', rest, maxsplit=1)[0]}"


def site_host(url: str) -> str:
    """Host and port as any `url` writes them, for grouping pages; "" where it names none.

    For addresses that others wrote into WARC files: urlsplit raises ValueError on some of them, this takes all.
    """
    found = _AUTHORITY.match(url)
    return found[1] if found else ""


def _is_host(host: str) -> bool:
    return len(host) <= 253 and re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", host) is not None
