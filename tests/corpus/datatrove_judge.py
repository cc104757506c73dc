"""What datatrove 0.10 itself makes of texts. Runs in an environment of its own: datatrove's pins clash with ours.

python datatrove_judge.py WHAT GIVEN.json ANSWER.json

filters    texts -> reasons of each filter by itself, and of FineWeb's four in a row; and what became of the text
addresses  texts -> texts with marks in the place of mail and IP addresses
urls       (lists, URLs) -> reasons
marks      null -> what ends a sentence, and what makes no word
"""

import json
import sys
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.filters.base_filter import get_filter_result
from datatrove.pipeline.filters.url_filter import URLFilter
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION
from tldextract import TLDExtract

FILTERS = {
    "repetition": GopherRepetitionFilter(),
    "quality": GopherQualityFilter(),
    "c4": C4QualityFilter(filter_no_terminal_punct=False),
    "fineweb": FineWebQualityFilter(),
    "quality_300": GopherQualityFilter(max_doc_words=300),
    "c4_paper": C4QualityFilter(),
    "fineweb_paper": FineWebQualityFilter(char_duplicates_ratio=0.1),
}


CHAIN = ["repetition", "quality", "c4", "fineweb"]


def filters(texts: list[str]) -> list[dict[str, str | None]]:
    chains = {**{name: [name] for name in FILTERS}, "chain": CHAIN}
    return [dict(pair for name, chain in chains.items() for pair in judged(text, name, chain)) for text in texts]


def judged(text: str, name: str, chain: list[str]) -> list[tuple[str, str | None]]:
    """The first filter's reason to drop the text, or None and what became of the text."""
    document = Document(text, "")
    for one in chain:
        keep, reason = get_filter_result(FILTERS[one].filter(document))
        if not keep:
            return [(name, reason)]
    return [(name, None), (f"{name} text", document.text)]


def marks(_: None) -> list[list[str]]:
    return [sorted(TERMINAL_PUNCTUATION), sorted(PUNCTUATION_SET)]


def addresses(texts: list[str]) -> list[str]:
    formatter = PIIFormatter(email_replacement="\x01", ip_replacement="\x02")
    return [formatter.format(text) for text in texts]


def urls(given: tuple[dict[str, list[str]], list[str]]) -> list[str | None]:
    lists, addresses = given
    one = URLFilter(use_integrated_lists=False, **lists)
    one.tldextractor = TLDExtract(suffix_list_urls=())  # the list in its package; it would ask the network for a newer one
    return [get_filter_result(one.filter(Document("", "", metadata={"url": url})))[1] for url in addresses]


if __name__ == "__main__":
    what, given, answer = sys.argv[1:]
    result = {"filters": filters, "addresses": addresses, "urls": urls, "marks": marks}[what](
        json.loads(Path(given).read_text(encoding="utf-8"))
    )
    Path(answer).write_text(json.dumps(result), encoding="utf-8")
