"""The peer of bench/extraction.py, in datatrove's own environment: its trafilatura, with FineWeb's options.

    python extraction_peer.py PAGES.json TEXTS.json

Answers each line of its input with how many pages it has extracted, and writes their texts. What FineWeb wants beside it is
that passages be dropped that earlier pages had: the pages are taken in their order, and each answer begins anew.
"""

import json
import sys
from pathlib import Path

import trafilatura
from datatrove.pipeline.extractors import Trafilatura
from trafilatura.deduplication import LRU_TEST


def main() -> None:
    pages = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    stage = Trafilatura(favour_precision=True)
    print(trafilatura.__version__, flush=True)
    for _ in sys.stdin:
        LRU_TEST.clear()
        texts = [stage.extract(page) or "" for page in pages]
        Path(sys.argv[2]).write_text(json.dumps(texts), encoding="utf-8")
        print(len(texts), flush=True)


if __name__ == "__main__":
    main()
