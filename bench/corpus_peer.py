"""The peer of bench/corpus.py, in datatrove's own environment: FineWeb's filters on the texts of a file, per line read.

    python corpus_peer.py TEXTS.json

Answers each line with how many texts were kept.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.utils.text import split_into_parts


def main() -> None:
    texts = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    filters = [
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    ]
    print(version("datatrove"), flush=True)
    for _ in sys.stdin:
        split_into_parts.cache_clear()
        documents = [Document(text, "") for text in texts]
        print(sum(all(one.filter(document) is True for one in filters) for document in documents), flush=True)


if __name__ == "__main__":
    main()
