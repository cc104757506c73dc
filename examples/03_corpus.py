"""corpus: pages become documents, and every page has a row in the ledger that says what became of it."""

import sys
from pathlib import Path

import polars as pl

import ropewalk


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
    corpus = ropewalk.api.corpus(
        folder / "corpus",
        pages=folder / "pages",
        held_out_fraction=0.1,
        max_duplicate_ngram_fractions=(0.30, 0.28, 0.26, 0.24, 0.22, 0.20),  # manuals repeat their terms
        workers=1,
    )
    for row in corpus.facts["funnel"]:
        print(f"{row['stage']:<20}{row['documents']:>6} documents {row['bytes']:>9,} bytes")
    ledger = pl.read_parquet(corpus.path / "ledger-*.parquet")
    print(ledger.group_by("stage", "reason").len().sort("len", descending=True))


if __name__ == "__main__":  # the processes that judge pages import this file, and must not run it
    main()
