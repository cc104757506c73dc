"""What a host's robots.txt allows, after RFC 9309."""

from __future__ import annotations

from dataclasses import dataclass

from protego import Protego

READ_AT_MOST_BYTES = 512 * 1024
FRESH_SECONDS = 24 * 3600
LONGEST_DELAY_SECONDS = 60.0


@dataclass(frozen=True)
class Rules:
    """A host's rules. parsed: None where no robots.txt could be had; then `reachable` tells all from nothing.

    reachable: False if the host did not answer, or with an error of its own: then nothing may be fetched.
    """

    parsed: Protego | None
    reachable: bool = True
    fetched_at: float = 0.0

    def allow(self, url: str, user_agent: str) -> bool:
        return self.reachable and (self.parsed is None or self.parsed.can_fetch(url, user_agent))

    def delay_seconds(self, user_agent: str) -> float:
        """The Crawl-delay asked for, within reason: a host cannot hold up a crawl for days."""
        asked = self.parsed.crawl_delay(user_agent) if self.parsed else None
        return min(max(0.0, asked or 0.0), LONGEST_DELAY_SECONDS)


def rules_from(status: int | None, payload: bytes, *, now: float) -> Rules:
    """Rules from the answer to /robots.txt: 2xx is read, 4xx allows all; 5xx, 429 (we
    came too often) and no answer allow nothing."""
    if status is None or status == 429 or status >= 500:
        return Rules(None, reachable=False, fetched_at=now)
    if not 200 <= status < 300:
        return Rules(None, fetched_at=now)
    text = payload[:READ_AT_MOST_BYTES].decode("utf-8-sig", errors="replace")
    return Rules(Protego.parse(text), fetched_at=now)
