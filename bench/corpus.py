"""The corpus room beside datatrove, one core each: from WARC files to documents, and FineWeb's filters alone.

    make test-peers docs-pages       # datatrove's environment; the manuals
    python bench/corpus.py --out bench/results/corpus.json
    python bench/corpus.py --out bench/results/corpus.json --articles FOLDER     # a clone of the article benchmark
    python bench/corpus.py --out /tmp/manuals.json --only manuals --rounds 3     # a part of it

Pages are manuals (`bench/pages.py`) and, where --articles names them, 181 articles of news and blogs: how these are
raced says `bench/corpus_line.py`.

The filters' texts are real and English: the manuals beside installed packages and Python's own help. Both must keep as many
before anything is timed. "ropewalk" has forgotten all words before each round, as a worker at its start; "warm" has met
these texts before. A long run lies between them. datatrove has its tokenizer loaded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import corpus_line
import pages
from harness import LEAST_ROUNDS, Target, compare, write

ROOT = Path(__file__).parents[1]
LEAST_RATIO = 5.0
LONGEST_CHARACTERS = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the result goes, JSON")
    parser.add_argument("--rounds", type=int, default=5, help=f"rounds, at least {LEAST_ROUNDS} for a result to keep")
    parser.add_argument("--documents", type=int, default=1_000, help="texts for the filters")
    parser.add_argument("--pages", type=int, default=400, help="manuals' pages")
    parser.add_argument("--articles", type=Path, help="a folder with the article benchmark")
    parser.add_argument("--only", choices=("manuals", "articles", "filters"), help="one part alone")
    arguments = parser.parse_args()
    parts = [arguments.only] if arguments.only else ["manuals", *["articles"] * bool(arguments.articles), "filters"]
    results = []
    if "manuals" in parts:
        results.append(line(pages.manuals(arguments.pages), "manuals", rounds=arguments.rounds))
    if "articles" in parts:
        results.append(line(pages.articles(arguments.articles), "articles", rounds=arguments.rounds))
    if "filters" in parts:
        results.append(filters(arguments.documents, rounds=arguments.rounds))
    write(results, arguments.out)


def line(found: list[tuple[str, bytes]], kind: str, *, rounds: int) -> dict[str, Any]:
    """The race over the pages of a WARC file, from reading it to written documents."""
    megabytes = sum(len(payload) for _, payload in found) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        warc = Path(folder) / f"{kind}.warc.gz"
        pages.write_warc(found, warc)
        return corpus_line.race(warc, what=f"{len(found)} pages of {kind}, {megabytes:.1f} MB", rounds=rounds)


def filters(count: int, *, rounds: int) -> dict[str, Any]:
    """The race of the filters alone."""
    sys.path.insert(0, str(ROOT))
    from tests.corpus.manuals import documents

    found = documents(3 * count, longest_characters=LONGEST_CHARACTERS)
    texts = list(islice((text for text in found if is_english(text)), count))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps(texts), encoding="utf-8")
        command = [corpus_line.PEER, corpus_line.PEER_SCRIPT, "filters", path]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            return race(texts, peer, rounds=rounds)


def is_english(text: str) -> bool:
    """Whether FineWeb's language filter would let a text come to the others."""
    from ropewalk.corpus.language import detect

    language, score = detect(text, lambda _: 0.65)
    return language == "en" and score >= 0.65


def race(texts: list[str], peer: subprocess.Popen[str], *, rounds: int) -> dict[str, Any]:
    """Check that both keep the same number, then time them."""
    from ropewalk.corpus import CorpusOptions
    from ropewalk.corpus.rules import apply_rules
    from ropewalk.corpus.spacy_words import splitter

    assert peer.stdout is not None
    version = peer.stdout.readline().partition("\t")[0]
    options = CorpusOptions(pages=Path("unused"), rules="fineweb")
    text_bytes = sum(len(text.encode()) for text in texts)

    def warm() -> int:
        return sum(apply_rules(text, "en", options)[1] is None for text in texts)

    def cold() -> int:
        splitter("en").forget()
        return warm()

    if (ours := warm()) != (others := corpus_line.ask(peer)):
        sys.exit(f"ropewalk keeps {ours} texts, datatrove {others}: there is nothing to compare")
    return compare(
        "corpus",
        {
            "ropewalk": lambda: (cold(), text_bytes)[1],
            "ropewalk, warm": lambda: (warm(), text_bytes)[1],
            "datatrove": lambda: (corpus_line.ask(peer), text_bytes)[1],
        },
        what=f"FineWeb's filters on {len(texts):,} texts, {text_bytes / 1e6:.1f} MB; datatrove {version}",
        unit="bytes",
        targets=[Target("ropewalk", "datatrove", LEAST_RATIO)],
        libraries=["numpy", "spacy"],
        rounds=rounds,
    )


if __name__ == "__main__":
    main()
