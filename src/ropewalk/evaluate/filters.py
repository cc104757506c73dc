"""What became of every page, against the known truth: which kinds were crawled, kept and dropped, and by what."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ropewalk.artifact import open_artifact, open_input
from ropewalk.corpus.reading import read_ledger, read_samples
from ropewalk.evaluate.shares import share
from ropewalk.evaluate.truth import DISALLOWED, Truth, TruthPage

KEPT, NOT_FOUND = "kept", "not found"


class Fate(NamedTuple):
    """Where a page's way ended: at a stage of the corpus, or before it, in the crawl."""

    crawled: bool
    stage: str
    reason: str

    @property
    def kept(self) -> bool:
        return self.stage == KEPT

    @property
    def named(self) -> str:
        """Stage and reason, once where the reason begins with the stage's name."""
        return self.reason if self.reason.startswith(self.stage) else f"{self.stage}: {self.reason}".removesuffix(": ")


def filter_table(truth: Truth, corpus: Path) -> dict[str, Any]:
    """Count pages by kind and fate, and say which fates are right.

    Of a page and its copies one is to be kept, whichever it is: that one counts as right, and every other that is dropped.
    What was never fetched is no junk dropped; a good page that was never fetched is lost.
    """
    fates = page_fates(truth, corpus)
    keepers = _keepers(truth, fates)
    rows, good, junk = [], Counter(), Counter()
    by_kind: dict[str, list[TruthPage]] = defaultdict(list)
    for page in truth.pages.values():
        by_kind[page.kind].append(page)
    for kind, pages in by_kind.items():
        counted, right = 0, 0
        for page in pages:
            verdict = _is_right(truth, page, fates[page.path], keepers)
            if verdict is None:
                continue
            counted, right = counted + 1, right + verdict
            if kind != DISALLOWED:
                (good if page.keep and page.copy_of is None else junk).update(counted=1, right=verdict)
        rows.append({"kind": kind, **_counts([fates[page.path] for page in pages]), "right": share(right, counted)})
    return {
        "kinds": rows,
        "good_kept": share(good["right"], good["counted"]),
        "junk_dropped": share(junk["right"], junk["counted"]),
        "disallowed_crawled": sum(fates[page.path].crawled for page in by_kind[DISALLOWED]),
    }


def page_fates(truth: Truth, corpus: Path) -> dict[str, Fate]:
    """The fate of each page of the truth by path; of a page with several addresses the best one's."""
    fates = dict.fromkeys(truth.pages, Fate(False, NOT_FOUND, ""))
    for url, outcome in _crawl_outcomes(corpus):
        page = truth.page(url)
        if page is not None:
            fates[page.path] = Fate(False, outcome, "")
    for row in read_ledger(corpus).select(["url", "stage", "reason"]).to_pylist():
        page = truth.page(row["url"])
        if page is not None and not fates[page.path].kept:
            fates[page.path] = Fate(True, row["stage"], row["reason"] or "")
    return fates


def _crawl_outcomes(corpus: Path) -> Iterator[tuple[str, str]]:
    """Every address that the crawl considered, and what came of it; nothing for pages that no crawl fetched."""
    from ropewalk.crawl.ledger import LEDGER
    from ropewalk.crawl.ledger import read_ledger as read_fetches

    artifact = open_artifact(corpus, "corpus")
    if artifact.inputs["pages"]["kind"] == "pages":
        for row, _ in read_fetches(open_input(artifact, "pages").path / LEDGER):
            yield row.url, row.outcome


def _keepers(truth: Truth, fates: dict[str, Fate]) -> dict[str, str]:
    """The one page of each family of copies, by its original's path, that stands for all: the original where it is kept."""
    keepers: dict[str, str] = {}
    for page in sorted(truth.pages.values(), key=lambda page: (page.copy_of is not None, page.path)):
        if fates[page.path].kept:
            keepers.setdefault(_original(truth, page), page.path)
    return keepers


def _original(truth: Truth, page: TruthPage) -> str:
    """The path at the end of a chain of copies."""
    seen = {page.path}
    while page.copy_of is not None and page.copy_of not in seen:
        page = truth.pages[page.copy_of]
        seen.add(page.path)
    return page.path


def _is_right(truth: Truth, page: TruthPage, fate: Fate, keepers: dict[str, str]) -> bool | None:
    """Whether a page's fate is right; None where it does not count."""
    original = truth.pages[_original(truth, page)]
    if page.kind == DISALLOWED:
        return not fate.crawled
    if page.copy_of is None and page.keep:
        return page.path in keepers
    if not fate.crawled or (page.copy_of is None and page.keep is None):
        return None
    return not fate.kept or (original.keep is not False and keepers[original.path] == page.path)


def _counts(fates: list[Fate]) -> dict[str, Any]:
    dropped = Counter(fate.named for fate in fates if not fate.kept)
    by_crawl = {fate.stage for fate in fates if not fate.crawled}
    return {
        "pages": len(fates),
        "crawled": sum(fate.crawled for fate in fates),
        "kept": sum(fate.kept for fate in fates),
        "not_crawled": {stage: count for stage, count in sorted(dropped.items()) if stage in by_crawl},
        "dropped": dict(
            sorted(((s, n) for s, n in dropped.items() if s not in by_crawl), key=lambda item: (-item[1], item[0]))
        ),
    }


def page_samples(corpus: Path, truth: Truth | None) -> list[dict[str, Any]]:
    """Some pages of every rule of the corpus, with what was decided on, and their kind where the truth is known."""
    samples = []
    for sample in read_samples(corpus):
        page = truth.page(sample["url"]) if truth else None
        samples.append({**sample, "kind": page.kind if page else None})
    return samples
