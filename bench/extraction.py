"""How much of an article each extractor finds, and what else it takes for it: precision, recall and F1 on 181 pages.

    python bench/extraction.py FOLDER --out bench/results/extraction.json

FOLDER is a clone of https://github.com/scrapinghub/article-extraction-benchmark (MIT), fetched for the bench: nothing of it
is kept here. As that benchmark measures: words are runs of letters, digits and _, texts are bags of 4 words in a row;
precision is the mean over pages on which anything was found, recall the mean over pages, F1 their harmonic mean. Published
for trafilatura 2.0.0: precision .938, recall .978, F1 .958; the same comes out here of the texts in that folder (--texts).

"fast" and "precise" are ours, "datatrove" the trafilatura of its environment with FineWeb's options. Rates are of extraction
alone, on one core, in the processor's seconds.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import psutil
from corpus_line import PEER, ask, on_one_core
from harness import LEAST_ROUNDS, compare, write
from pages import articles

WORDS = 4
LEAST_F1 = {"fast": 0.93, "precise": 0.96}
PEER_SCRIPT = Path(__file__).with_name("extraction_peer.py")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Score:
    """Fractions, 0 to 1."""

    precision: float
    recall: float
    f1: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the benchmark")
    parser.add_argument("--out", type=Path, help="where the result goes, JSON")
    parser.add_argument("--rounds", type=int, default=5, help=f"rounds, at least {LEAST_ROUNDS} for a result to keep")
    parser.add_argument("--texts", type=Path, help="score this file of the benchmark's output/ and nothing else")
    arguments = parser.parse_args()
    truth = texts_of(arguments.folder / "ground-truth.json")
    if arguments.texts or not arguments.out:
        print(score(truth, texts_of(arguments.texts or parser.error("name --out or --texts"))))
        return
    result = race(arguments.folder, truth, rounds=arguments.rounds)
    write(result, arguments.out)
    print("\n".join(result["notes"]))


def texts_of(path: Path) -> list[str]:
    """The articles of a file of the benchmark, in the order of their names."""
    found = json.loads(path.read_text(encoding="utf-8"))
    found = found.get("output", found)
    return [found[name].get("articleBody") or "" for name in sorted(found)]


def score(truth: Sequence[str], found: Sequence[str]) -> Score:
    """Compare texts page by page."""
    precisions, recalls = [], []
    for wanted, text in zip(truth, found, strict=True):
        wanted_runs, runs = runs_of(wanted), runs_of(text)
        common = (wanted_runs & runs).total()
        if runs:
            precisions.append(common / runs.total())
        if wanted_runs:
            recalls.append(common / wanted_runs.total())
    precision, recall = mean(precisions or [0]), mean(recalls or [0])
    return Score(precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0)


def runs_of(text: str) -> Counter[tuple[str, ...]]:
    """All runs of four words; of a shorter text the whole."""
    words = _WORD.findall(text)
    if len(words) < WORDS:
        return Counter([tuple(words)] if words else [])
    return Counter(zip(*(islice(words, offset, None) for offset in range(WORDS)), strict=False))


def race(folder: Path, truth: Sequence[str], *, rounds: int) -> dict[str, Any]:
    """Score the extractors, and let them take turns for the time they take."""
    from ropewalk.corpus.extract import extract

    found: dict[str, list[str]] = {}
    pages = [payload.decode("utf-8") for _, payload in articles(folder)]

    def ours(extractor: Literal["fast", "precise"]) -> Callable[[], float]:
        def work() -> float:
            found[extractor] = [extract(page, max_nesting=512, extractor=extractor).text for page in pages]
            return len(pages)

        return work

    with tempfile.TemporaryDirectory() as name, on_one_core():
        source, out = Path(name) / "pages.json", Path(name) / "texts.json"
        source.write_text(json.dumps(pages), encoding="utf-8")
        command = [PEER, PEER_SCRIPT, source, out]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            assert peer.stdout is not None
            version = peer.stdout.readline().strip()
            process = psutil.Process(peer.pid)
            result = compare(
                "extraction",
                {"fast": ours("fast"), "precise": ours("precise"), "datatrove": lambda: ask(peer)},
                what=f"the main text of {len(pages)} articles; datatrove's trafilatura is {version}",
                unit="pages",
                targets=[],
                libraries=["resiliparse", "trafilatura", "lxml"],
                rounds=rounds,
                clocks=dict.fromkeys(("fast", "precise"), time.process_time)
                | {"datatrove": lambda: sum(process.cpu_times()[:4])},
            )
        found["datatrove"] = json.loads(out.read_text(encoding="utf-8"))
    scores = {name: score(truth, texts) for name, texts in found.items()}
    notes = [told(name, one) for name, one in scores.items()]
    return {
        **result,
        "scores": {name: asdict(one) for name, one in scores.items()},
        "meets_targets": all(scores[name].f1 >= least for name, least in LEAST_F1.items()),
        "notes": notes,
    }


def told(name: str, one: Score) -> str:
    """A line for docs/benchmarks.md."""
    said = f"{name}: F1 {one.f1:.3f}, precision {one.precision:.3f}, recall {one.recall:.3f}"
    if name not in LEAST_F1:
        return said
    return f"{said}; target F1 {LEAST_F1[name]}: {'met' if one.f1 >= LEAST_F1[name] else '**missed**'}"


if __name__ == "__main__":
    main()
