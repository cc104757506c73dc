"""`ropewalk why`: what happened to a page, in plain words, as the ledger has it.

An address that the ledger does not know is looked for among those that the crawl considered, and then in parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from ropewalk.artifact import Artifact, open_artifact, open_input
from ropewalk.runtime.errors import ArtifactError
from ropewalk.runtime.terminal import one_line

if TYPE_CHECKING:
    import polars as pl

SHOWN = 10
NEIGHBOURS = 3


@dataclass(frozen=True)
class WhyOptions:
    """Tell what happened to a page."""

    corpus: Positional[Path]
    """The corpus that the page was to become a part of."""
    url: Positional[str]
    """The page's address. A part of it lists the addresses that hold it."""


def run_why(options: WhyOptions) -> int:
    """Print what became of every record with this address. Returns 1 if there is none.

    Raises:
        ArtifactError: no corpus there.
    """
    import polars as pl

    from ropewalk.crawl.urls import normalise

    corpus = open_artifact(options.corpus, "corpus")
    ledger = pl.scan_parquet([path for path in corpus.files(".parquet") if path.name.startswith("ledger-")])
    for url in dict.fromkeys([options.url, normalise(options.url) or options.url]):
        records = ledger.filter(pl.col("url") == url).collect().to_dicts()
        if records:
            print(one_line(url))
            for record in records:
                for line in _told(corpus, ledger, record):
                    print(f"    {one_line(line)}")
            return 0
        if crawled := _crawl_outcome(corpus, url):
            print(f"{one_line(url)}\n    {one_line(crawled)}")
            return 1
    _print_near(ledger, options.url)
    return 1


def _told(corpus: Artifact, ledger: pl.LazyFrame, record: Mapping[str, Any]) -> list[str]:
    """The lines on one record: its fate, what is known of the page, and its copies."""
    known = {"page": record["page_id"][:12] or None, "characters": record["characters"] or None}
    known |= {"cut_characters": record.get("cut_characters") or None}  # these three: not in corpora of earlier versions
    known |= {name: record.get(name) for name in ("rights", "license")}
    if record["stage"] == "kept":
        fate, document = _document(corpus, record)
        fate = f"{fate}; {record['reason']}" if record["reason"] else fate
        known |= document
    elif record["duplicate_of"]:
        fate = f"dropped at {record['stage']}: it repeats {_page(ledger, record['duplicate_of'])}"
    else:
        reason = f": {record['reason']}" if record["reason"] else ""
        fate = f"dropped at {record['stage']}{reason}{_measured(record)}"
    lines = [fate, ", ".join(f"{name} {value}" for name, value in known.items() if value is not None)]
    return [line for line in [*lines, _copies(ledger, record["page_id"])] if line]


def _measured(record: Mapping[str, Any]) -> str:
    """The value that decided, against its threshold."""
    value, threshold = record["value"], record["threshold"]
    if value is None or threshold is None:
        return ""
    bound = "at most" if value > threshold else "at least"
    return f" ({value:.6g}, where {bound} {threshold:.6g} is wanted)"


def _document(corpus: Artifact, record: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Where a kept page stands, and what was noted of it."""
    import polars as pl

    files = [path for path in corpus.files(".parquet") if path.name.startswith("documents-")]
    documents = pl.scan_parquet(files, include_file_paths="file")
    same = (pl.col("url") == record["url"]) & (pl.col("page_id") == record["page_id"])
    (found,) = documents.filter(same).drop("text").collect().to_dicts()
    use = {"train": "to train on", "held_out": "held out for evaluation"}[found["split"]]
    names = ("title", "language", "language_score", "relevance", "date")
    return f"kept, in {Path(found['file']).name}, {use}", {name: found[name] for name in names}


def _page(ledger: pl.LazyFrame, page_id: str) -> str:
    """The address of the page that another one repeats, and its own fate."""
    import polars as pl

    # Of equal records one stands for all: the kept one, if any is.
    rows = ledger.filter(pl.col("page_id") == page_id).select("url", "stage").collect().to_dicts()
    first = min(rows, key=lambda row: row["stage"] != "kept")
    fate = "kept" if first["stage"] == "kept" else f"itself dropped at {first['stage']}"
    return f"{first['url']} ({fate})"


def _copies(ledger: pl.LazyFrame, page_id: str) -> str:
    """Which pages went because they repeat this one: they come back if it goes."""
    import polars as pl

    copies = ledger.filter(pl.col("duplicate_of") == page_id).select("url").collect()["url"].to_list()
    more = f" and {len(copies) - SHOWN} more" if len(copies) > SHOWN else ""
    return f"dropped as its copies: {', '.join(copies[:SHOWN])}{more}" if copies else ""


def _crawl_outcome(corpus: Artifact, url: str) -> str:
    """What the crawl did with an address that it did not store; empty where it never met it, or is not there to ask."""
    from ropewalk.crawl.ledger import LEDGER, read_ledger

    if corpus.inputs["pages"]["kind"] != "pages":
        return ""
    try:
        pages = open_input(corpus, "pages")
    except ArtifactError as error:
        return f"the corpus has no record of it, and the crawl cannot be asked: {error}"
    row = next((row for row, _ in read_ledger(pages.path / LEDGER) if row.url == url), None)
    if row is None:
        return ""
    led = f" to {row.links[0]}" if row.outcome == "redirect" and row.links else ""
    note = f" ({row.note})" if row.note else ""
    return f"never reached the corpus: the crawl noted {row.outcome}{led}{note}"


def _print_near(ledger: pl.LazyFrame, url: str) -> None:
    """Addresses that hold the text given; failing that, those that share the longest beginning with it."""
    import polars as pl

    urls = ledger.select(pl.col("url").unique().sort())
    holding = urls.filter(pl.col("url").str.to_lowercase().str.contains(url.lower(), literal=True)).collect()["url"]
    if len(holding):
        print(f"no record has the address {one_line(url)}; {len(holding)} hold that text:")
        near = holding.head(SHOWN).to_list()
    else:
        print(f"no record has the address {one_line(url)}; next to it in the alphabet stand:")
        before = urls.filter(pl.col("url") < url).tail(NEIGHBOURS)
        near = pl.concat([before, urls.filter(pl.col("url") > url).head(NEIGHBOURS)]).collect()["url"].to_list()
    for found in near:
        print(f"    {one_line(found)}")
