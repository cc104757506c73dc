"""The peer of bench/corpus.py, in datatrove's own environment.

    python corpus_peer.py filters TEXTS.json            FineWeb's filters on the texts of a file
    python corpus_peer.py line PAGES.warc.gz OUT MODEL  FineWeb's steps from the WARC to written documents, OUT a folder

Says datatrove's version and the folders of its URL lists, then answers each line of its input with how many were kept.

The steps are those of datatrove's examples/fineweb.py with their options, one after the other in this process, and are made
once: lists, models and tokenizers are not loaded anew for each answer. Changed is what it takes to run at all:
- trafilatura is imported beforehand. Otherwise a fork imports it within the time limit of a page, is killed in the middle of
  that, and so is the next one;
- that limit is 5 s, where the example has 1 s;
- nothing is fetched from the network: the list of public suffixes is the one in tldextract, and the language model is
  MODEL, a file. FineWeb's is the larger form of the same;
- dropped documents are counted, not written.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import trafilatura
from datatrove.data import Document
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
    URLFilter,
)
from datatrove.pipeline.readers import WarcReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils._import_utils import ASSETS_PATH
from datatrove.utils.lid import FT176LID
from datatrove.utils.logging import logger
from datatrove.utils.text import split_into_parts
from huggingface_hub import cached_assets_path
from tldextract import TLDExtract

PAGE_SECONDS = 5


def main() -> None:
    logger.remove()
    kind, source, *rest = sys.argv[1:]
    answer = _filters(source) if kind == "filters" else _line(source, *rest)
    lists = cached_assets_path(library_name="datatrove", namespace="filters", subfolder="url_filter")
    print(version("datatrove"), trafilatura.__version__, lists, ASSETS_PATH, sep="\t", flush=True)
    for _ in sys.stdin:
        split_into_parts.cache_clear()
        print(answer(), flush=True)


def _quality():
    return [
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    ]


def _filters(path):
    texts = json.loads(Path(path).read_text(encoding="utf-8"))
    filters = _quality()

    def answer() -> int:
        documents = [Document(text, "") for text in texts]
        return sum(all(one.filter(document) is True for one in filters) for document in documents)

    return answer


def _line(path, out, model):
    FT176LID.MODEL_URL = f"file://{model}"
    urls = URLFilter()
    urls.tldextractor = TLDExtract(suffix_list_urls=())
    urls.download_data()
    steps = [
        WarcReader(str(Path(path).parent), glob_pattern=Path(path).name, default_metadata={"dump": "bench"}),
        urls,
        Trafilatura(favour_precision=True, timeout=PAGE_SECONDS),
        LanguageFilter(),
        *_quality(),
    ]

    def answer() -> int:
        data = None
        for step in [*steps, JsonlWriter(out)]:  # a writer is closed when it is done
            data = step.run(data, 0, 1)
        return sum(1 for _ in data or ())

    return answer


if __name__ == "__main__":
    main()
