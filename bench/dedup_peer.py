"""The peer of bench/dedup.py, in datatrove's own environment: FineWeb's signatures of the texts of a file, per line read.

    python dedup_peer.py TEXTS.json

Answers each line with how many signatures were made. Only datatrove's hashing is done: its files, and the sorting of them,
are left out, to its advantage.
"""

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from datatrove.pipeline.dedup import MinhashDedupSignature


def main() -> None:
    texts = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        stage = MinhashDedupSignature(folder)
        print(version("datatrove"), flush=True)
        for _ in sys.stdin:
            signatures = [stage.get_signature(stage.get_shingles(text)) for text in texts]
            print(len(signatures), flush=True)


if __name__ == "__main__":
    main()
