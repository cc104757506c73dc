"""What datatrove 0.10's own filters make of texts. Runs in datatrove's own environment: its pins clash with ours.

    python datatrove_judge.py TEXTS.json VERDICTS.json

Reads a list of texts. Writes for each: reasons of the four filters asked by themselves, the text that C4's leaves, and the
first reason when they are asked one after the other; null where a filter keeps the text.
"""

import json
import sys
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.filters.base_filter import get_filter_result


def judge(text: str, filters: dict, chain: list) -> dict:
    verdict = {}
    for name, one in filters.items():
        document = Document(text, "")
        verdict[name] = reason(one, document)
        if name == "c4" and verdict[name] is None:
            verdict["rewritten"] = document.text
    document = Document(text, "")
    verdict["chain"] = next(filter(None, (reason(one, document) for one in chain)), None)
    verdict["chained"] = document.text if verdict["chain"] is None else None
    return verdict


def reason(one, document: Document) -> str | None:
    keep, why = get_filter_result(one.filter(document))
    return None if keep else why


def main(texts: Path, verdicts: Path) -> None:
    filters = {
        "repetition": GopherRepetitionFilter(),
        "quality": GopherQualityFilter(),
        "c4": C4QualityFilter(filter_no_terminal_punct=False),
        "c4_paper": C4QualityFilter(),
        "fineweb": FineWebQualityFilter(),
        "fineweb_paper": FineWebQualityFilter(char_duplicates_ratio=0.1),
    }
    chain = [filters[name] for name in ("repetition", "quality", "c4", "fineweb")]
    judged = [judge(text, filters, chain) for text in json.loads(texts.read_text())]
    verdicts.write_text(json.dumps(judged))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
