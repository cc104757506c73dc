"""Replace e-mail addresses and public IPv4 addresses in documents, as FineWeb does after deduplication (Penedo et al. 2024).

What is replaced is what datatrove 0.10 replaces (`PIIFormatter`). By what is chosen by a hash of the document and the
address: an address keeps its substitute within a document, and no worker's order matters. Substitutes of IP addresses are
of the ranges kept for documentation (RFC 5737), where the peer has six real ones that did not answer a ping.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass

EMAIL_SUBSTITUTES = ("email@example.com", "firstname.lastname@example.org")
IP_SUBSTITUTES = ("192.0.2.1", "192.0.2.53", "198.51.100.7", "198.51.100.99", "203.0.113.20", "203.0.113.186")
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)"
_IP = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"  # RFC 5322's atext
_LOCAL = frozenset("." + "".join(chr(code) for code in range(128) if re.match(_ATOM, chr(code))))
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:(?:{_LABEL}\.)+{_LABEL}|\[(?:{_OCTET}\.){{3}}(?:{_OCTET}|[A-Za-z0-9-]*[A-Za-z0-9]:)\])")
_START = re.compile(rf"\b{_ATOM}")


@dataclass(frozen=True)
class Cleaned:
    """A text without personal addresses, and how many of each kind were replaced."""

    text: str
    emails: int
    ip_addresses: int


def replace_addresses(text: str, page_id: str) -> Cleaned:
    """Put substitutes in the place of e-mail addresses, and then of public IPv4 addresses."""
    text, emails = _without(text, find_emails(text), EMAIL_SUBSTITUTES, page_id)
    text, ip_addresses = _without(text, find_public_ips(text), IP_SUBSTITUTES, page_id)
    return Cleaned(text, emails, ip_addresses)


def find_emails(text: str) -> list[tuple[int, int]]:
    """Where e-mail addresses begin and end.

    One regular expression from left to right would try each of a run's places again: quadratic in pages of "a.a.a.a.".
    So each @ is found first, and then the run before it is looked at, once.
    """
    found: list[tuple[int, int]] = []
    at = text.find("@")
    after = 0
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        start = _local_start(text, after, at) if domain else None
        if domain and start is not None:
            found.append((start, domain.end()))
            after = domain.end()
        else:
            after = at + 1
        at = text.find("@", after)
    return found


def _local_start(text: str, after: int, at: int) -> int | None:
    """Where the name before an @ begins: at the first boundary of a word from which on it is dotted atoms."""
    low = at
    while low > after and text[low - 1] in _LOCAL:
        low -= 1
    if low == at or text[at - 1] == ".":
        return None
    gap = text.rfind("..", low, at)
    found = _START.search(text, low if gap < 0 else gap + 2, at)
    return found.start() if found else None


def find_public_ips(text: str) -> list[tuple[int, int]]:
    """Where IPv4 addresses of the public internet begin and end, inside longer numbers too."""
    return [found.span() for found in _IP.finditer(text) if _is_public(found[0])]


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:  # an octet with a leading zero
        return False


def _without(text: str, places: list[tuple[int, int]], substitutes: tuple[str, ...], page_id: str) -> tuple[str, int]:
    pieces, after = [], 0
    for start, end in places:
        digest = hashlib.blake2b(f"{page_id}\n{text[start:end]}".encode(), digest_size=8).digest()
        pieces += [text[after:start], substitutes[int.from_bytes(digest, "little") % len(substitutes)]]
        after = end
    return "".join([*pieces, text[after:]]), len(places)
