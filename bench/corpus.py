"""FineWeb's filters: `ropewalk.corpus` and datatrove's own classes, on the same texts, one core each.

The texts are real and English: the manuals beside installed packages and Python's own help. Both must keep as many
before anything is timed. "ropewalk" has forgotten all words before each round, as a worker at its start; "warm" has met
these texts before. A long run lies between them. datatrove runs in an environment of its own (`make test-peers` makes
it), its tokenizer loaded.

    python bench/corpus.py --out bench/results/corpus.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

from harness import LEAST_ROUNDS, Target, compare, write

ROOT = Path(__file__).parents[1]
PEER = ROOT / ".peers" / "bin" / "python"
LEAST_RATIO = 5.0
LONGEST_CHARACTERS = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the result goes, JSON")
    parser.add_argument("--rounds", type=int, default=5, help=f"rounds, at least {LEAST_ROUNDS} for a result to keep")
    parser.add_argument("--documents", type=int, default=1_000, help="texts")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.corpus.manuals import documents

    found = documents(3 * arguments.documents, longest_characters=LONGEST_CHARACTERS)
    texts = list(islice((text for text in found if is_english(text)), arguments.documents))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps(texts), encoding="utf-8")
        command = [PEER, Path(__file__).with_name("corpus_peer.py"), path]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            write(race(texts, peer, rounds=arguments.rounds), arguments.out)


def is_english(text: str) -> bool:
    """Whether FineWeb's language filter would let a text come to the others."""
    from ropewalk.corpus.language import detect

    language, score = detect(text, lambda _: 0.65)
    return language == "en" and score >= 0.65


def race(texts: list[str], peer: subprocess.Popen[str], *, rounds: int) -> dict[str, object]:
    """Check that both keep the same number, then time them."""
    from ropewalk.corpus import CorpusOptions
    from ropewalk.corpus.rules import apply_rules
    from ropewalk.corpus.spacy_words import splitter

    assert peer.stdin is not None and peer.stdout is not None
    answers = peer.stdout
    version = answers.readline().strip()
    options = CorpusOptions(pages=Path("unused"), rules="fineweb")
    text_bytes = sum(len(text.encode()) for text in texts)

    def warm() -> int:
        return sum(apply_rules(text, "en", options)[1] is None for text in texts)

    def cold() -> int:
        splitter("en").forget()
        return warm()

    def theirs() -> int:
        assert peer.stdin is not None
        peer.stdin.write("\n")
        peer.stdin.flush()
        return int(answers.readline())

    if (ours := warm()) != (others := theirs()):
        sys.exit(f"ropewalk keeps {ours} texts, datatrove {others}: there is nothing to compare")
    return compare(
        "corpus",
        {
            "ropewalk": lambda: (cold(), text_bytes)[1],
            "ropewalk, warm": lambda: (warm(), text_bytes)[1],
            "datatrove": lambda: (theirs(), text_bytes)[1],
        },
        what=f"FineWeb's filters on {len(texts):,} texts, {text_bytes / 1e6:.1f} MB; datatrove {version}",
        unit="bytes",
        targets=[Target("ropewalk", "datatrove", LEAST_RATIO)],
        libraries=["numpy", "spacy"],
        rounds=rounds,
    )


if __name__ == "__main__":
    main()
