"""MinHash signatures, ropewalk's and datatrove's of the same texts, one core each; and what it takes to cluster them.

    python bench/dedup.py --out bench/results/dedup.json                           # against datatrove
    python bench/dedup.py --out bench/results/dedup.json --signatures 50_000_000   # both
    python bench/dedup.py --signatures 5_000_000                                   # only that: made-up signatures, clustered

The texts are the docstrings of Python's own library. datatrove runs in an environment of its own, its tokenizer loaded.
The made-up signatures have 14 bands; every tenth copies one or more bands of an earlier one, so that what must be found is
known. They take 224 bytes each on disk, below the folder that TMPDIR names.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from harness import LEAST_ROUNDS, Target, compare, write

PEER = Path(__file__).parents[1] / ".peers" / "bin" / "python"
LEAST_RATIO = 10.0
BANDS, BAND_HASHES = 14, 8
BLOCK = 65_536
MOST_BYTES = 2_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where the result goes, JSON; without it no race")
    parser.add_argument("--rounds", type=int, default=5, help=f"rounds, at least {LEAST_ROUNDS} for a result to keep")
    parser.add_argument("--megabytes", type=float, default=1.0, help="text in all")
    parser.add_argument("--signatures", type=int, default=0, help="how many to make up")
    parser.add_argument("--peer", type=Path, default=PEER, help="a Python that has datatrove")
    arguments = parser.parse_args()
    if arguments.out is None:
        print(json.dumps(cluster(arguments.signatures), indent=2))
        return
    made_up = {}
    if arguments.signatures:  # in a process of its own: the most memory it ever held is asked for
        command = [sys.executable, __file__, "--signatures", str(arguments.signatures)]
        made_up = {"made_up": json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)}
    texts = docstrings(int(arguments.megabytes * 1e6))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps(texts), encoding="utf-8")
        command = [arguments.peer, Path(__file__).with_name("dedup_peer.py"), path]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            write(race(texts, peer, rounds=arguments.rounds) | made_up, arguments.out)


def docstrings(characters: int) -> list[str]:
    """A text for each module of the library that has 50 words of docstrings, in name order."""
    texts = []
    for path in sorted(Path(os.__file__).parent.rglob("*.py")):
        if characters <= 0:
            break
        if "site-packages" in path.parts or "test" in path.parts:
            continue
        try:
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        except (SyntaxError, UnicodeDecodeError):
            continue  # lib2to3 keeps files that are wrong on purpose
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        text = "\n\n".join(filter(None, (ast.get_docstring(node) for node in nodes if isinstance(node, kinds))))
        if len(text.split()) >= 50:
            texts.append(text)
            characters -= len(text)
    return texts


def race(texts: list[str], peer: subprocess.Popen[str], *, rounds: int) -> dict[str, object]:
    """Let both make the signatures of all texts."""
    from ropewalk.corpus.duplicates import MINHASH_VERSION, band_hashes

    assert peer.stdin and peer.stdout
    peer_version = peer.stdout.readline().strip()
    if not peer_version:
        sys.exit(f"{peer.args[0]} has no datatrove: make an environment that has, and name its Python with --peer")  # pyright: ignore[reportIndexIssue]

    def ours() -> float:
        for text in texts:
            band_hashes(text, bands=BANDS, band_hashes=BAND_HASHES)
        return len(text_bytes)

    def theirs() -> float:
        print("go", file=peer.stdin, flush=True)
        assert peer.stdout and int(peer.stdout.readline()) == len(texts)
        return len(text_bytes)

    text_bytes = "".join(texts).encode()
    result = compare(
        "dedup",
        {"ropewalk": ours, "datatrove": theirs},
        what=f"MinHash signatures of {len(texts)} texts, {len(text_bytes) / 1e6:.1f} MB, 14 bands of 8, one core",
        unit="bytes",
        targets=[Target("ropewalk", "datatrove", LEAST_RATIO)],
        libraries=["numpy", "rensa", "torch"],
        rounds=rounds,
    )
    return {**result, "versions": {**result["versions"], "datatrove": peer_version}, "minhash": MINHASH_VERSION}


def cluster(count: int) -> dict[str, object]:
    """Cluster made-up signatures as a corpus' are, and check the answer."""
    from ropewalk.corpus.clusters import keepers

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = keepers(signatures(count), count=count, expected=count, lanes=1, folder=Path(folder))
    seconds = time.perf_counter() - started
    wrong = 0
    for start in range(0, count, BLOCK):
        rows = np.arange(start, min(start + BLOCK, count), dtype=np.uint64)
        wrong += int((found[start : start + BLOCK] != originals(rows)).sum())
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "signatures": count,
        "wrong": wrong,
        "seconds": round(seconds, 1),
        "peak_bytes": peak_bytes,
        "most_bytes": MOST_BYTES,
        "meets_targets": wrong == 0 and peak_bytes < MOST_BYTES,
    }


def signatures(count: int) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Rows and their 14 bands, a block at a time, the last block first."""
    for start in reversed(range(0, count, BLOCK)):
        rows = np.arange(start, min(start + BLOCK, count), dtype=np.uint64)
        first = originals(rows)
        yield (
            rows,
            [
                scrambled(np.where(shared(rows, band), first, rows) * np.uint64(BANDS) + np.uint64(band))
                for band in range(BANDS)
            ],
        )


def originals(rows: np.ndarray) -> np.ndarray:
    """The row that each is to be found a copy of; of nine in ten, itself."""
    earlier = scrambled(rows) % np.maximum(rows, 1)
    return np.where(rows % 10 == 9, earlier - (earlier % 10 == 9), rows)


def shared(rows: np.ndarray, band: int) -> np.ndarray:
    """Whether a copy agrees in this band: in one that its number chooses, and in each other with a chance of a half."""
    chosen = scrambled(rows + np.uint64(1 << 40))
    return (chosen % BANDS == band) | ((chosen >> np.uint64(band + 8)) & np.uint64(1) == 1)


def scrambled(numbers: np.ndarray) -> np.ndarray:
    """splitmix64 (Steele et al. 2014): no two numbers come out equal."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


if __name__ == "__main__":
    main()
