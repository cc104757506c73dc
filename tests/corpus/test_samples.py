"""Samples of what each rule keeps and drops."""

from __future__ import annotations

import random

from ropewalk.corpus import CorpusOptions, run
from ropewalk.corpus.reading import read_documents, read_ledger, read_samples


def test_a_few_pages_of_every_rule_with_their_beginning(tmp_path, prose, html, write_warc):
    short = [(f"http://site/short/{number}", html(f"Only the {number} words. \x1b[2J &lt;b>&#8238;")) for number in range(9)]
    pages = [
        *[(f"http://site/good/{number}", html(prose(number))) for number in range(9)],
        ("http://site/bad/copy", html(prose(3)) + b"<!-- a copy -->"),
        ("http://site/bad/german", html("Der Kapitän trägt das lange Seil mit großer Sorgfalt durch die Stadt. " * 9)),
        ("http://site/bad/french", html("Le capitaine porte la longue corde avec grand soin à travers la ville. " * 9)),
        ("http://site/bad/empty", b""),
        *short,
    ]
    corpora = []
    for number, some in enumerate([pages, random.Random(2).sample(pages, len(pages))]):
        warc = write_warc(tmp_path / str(number) / "pages.warc.gz", some)
        corpora.append(run(CorpusOptions(pages=warc, workers=1), out=tmp_path / f"corpus-{number}"))
    assert corpora[0].digest == corpora[1].digest
    corpus = corpora[0].path
    samples = read_samples(corpus)
    ledger = {row["url"]: row for row in read_ledger(corpus).to_pylist()}
    for sample in samples:
        row = ledger[sample["url"]]
        assert all(sample[name] == row[name] for name in ("stage", "reason", "page_id", "value", "threshold", "characters"))
        assert len(sample["text"]) <= 300
        assert "\x1b" not in sample["text"] and "\n" not in sample["text"]
    stages = [sample["stage"] for sample in samples]
    assert {stage: stages.count(stage) for stage in dict.fromkeys(stages)} == {
        "read": 1, "language": 2, "quality": 3, "exact_duplicate": 1, "kept": 6,
    }  # fmt: skip
    few = sorted(row["page_id"] for row in ledger.values() if row["stage"] == "quality")[:3]
    assert [sample["page_id"] for sample in samples if sample["stage"] == "quality"] == few
    assert all(
        "Only the" in sample["text"] and "<b>" in sample["text"] for sample in samples if sample["stage"] == "quality"
    )
    (copy,) = [sample for sample in samples if sample["stage"] == "exact_duplicate"]
    assert (copy["url"], copy["duplicate_of"]) == ("http://site/good/3", "http://site/bad/copy")
    texts = {
        page_id: text
        for batch in read_documents(corpus, columns=("page_id", "text"))
        for page_id, text in zip(batch["page_id"].to_pylist(), batch["text"].to_pylist(), strict=True)
    }
    for sample in samples:
        if sample["stage"] == "kept":
            assert sample["text"] == " ".join(texts[sample["page_id"]][:300].split())
