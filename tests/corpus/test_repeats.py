"""Lines and passages that stand elsewhere are cut as a plain search over all documents would cut them."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ropewalk.corpus import CorpusOptions, lines, passages, run
from ropewalk.corpus.lines import frequent_lines, line_cutter
from ropewalk.corpus.passages import find_repeats, passage_cutter
from ropewalk.corpus.reading import read_documents, read_ledger, read_samples
from ropewalk.corpus.spill import Spill
from ropewalk.corpus.texts import Texts
from ropewalk.corpus.why import WhyOptions, run_why

LENGTH = 5


@pytest.fixture
def write_texts(tmp_path):
    """write_texts(texts, order): the texts in batches of three, given in that order; corpus order is the list's."""

    def write(texts: list[str], order: list[int]) -> Texts:
        batches = []
        for start in range(0, len(order), 3):
            batches.append(tmp_path / f"batch-{start}.parquet")
            pq.write_table(pa.table({"text": [texts[row] for row in order[start : start + 3]]}), batches[-1])
        return Texts(batches, np.array(order, dtype=np.uint32), np.ones(len(texts), dtype=bool))

    return write


@pytest.fixture
def small_files(monkeypatch):
    """Files of 40 records, so that a test has many of them."""

    def spill(folder: Path, *, lanes: int, expected: int) -> Spill:
        return Spill(folder, lanes=lanes, expected=max(expected, 400), file_records=40)

    monkeypatch.setattr(passages, "Spill", spill)
    monkeypatch.setattr(lines, "Spill", spill)


def random_documents(seed: int, count: int) -> list[str]:
    """Documents of words, some in passages that several documents share, some of which repeat themselves."""
    chance = random.Random(seed)

    def words(number: int) -> list[str]:
        return [f"w{chance.randrange(4_000)}" for _ in range(number)]

    shared = [words(chance.randrange(3, 12)) for _ in range(6)]
    made = []
    for _ in range(count):
        parts = [chance.choice(shared) if chance.random() < 0.5 else words(chance.randrange(1, 9)) for _ in range(6)]
        made.append(" ".join(word for part in parts for word in part))
    return made


def cut_plainly(texts: list[str], length: int) -> list[str]:
    """The plain twin: in corpus order, every word goes that belongs to a run of `length` words that came before."""
    seen, left = set(), []
    for text in texts:
        words = text.split()
        gone = set()
        for start in range(len(words) - length + 1):
            run = tuple(words[start : start + length])
            if run in seen:
                gone |= set(range(start, start + length))
            seen.add(run)
        left.append(" ".join(word for place, word in enumerate(words) if place not in gone))
    return left


@pytest.mark.parametrize("seed", range(5))
def test_passages_go_as_in_a_plain_search_whatever_the_order(tmp_path, write_texts, small_files, seed):
    documents = random_documents(seed, 40)
    order = random.Random(seed).sample(range(40), 40)
    texts = write_texts(documents, order)
    repeats = find_repeats(texts, tmp_path, length=LENGTH, text_bytes=sum(map(len, documents)))
    noted = {}
    cut = texts.rewrite(
        passage_cutter(repeats, length=LENGTH), tmp_path / "cut", lambda row, _, after: noted.update({row: after})
    )
    found = dict(cut.read())
    expected = cut_plainly(documents, LENGTH)
    assert [found[row] for row in range(40)] == expected
    assert noted == {row: text for row, text in enumerate(expected) if text != documents[row]}
    assert len(noted) > 10


def test_the_rest_of_a_text_stays_as_it_is(tmp_path, write_texts):
    said = "It was the best of times, it was the worst of times"
    documents = [f"First: {said}!", f"Second.\n\n  {said.upper()}; and\n(so) on.", said, f"{said} {said}"]
    texts = write_texts(documents, [3, 2, 1, 0])
    edit = passage_cutter(find_repeats(texts, tmp_path, length=LENGTH, text_bytes=100), length=LENGTH)
    assert [edit(row, text) for row, text in enumerate(documents)] == [
        documents[0],
        "Second.\n\n  and\n(so) on.",
        "",
        "",
    ]


def test_frequent_lines_go_from_all_documents(tmp_path, write_texts, small_files):
    menu, notice = "Home | About | Contact", "All rights reserved."
    documents = [
        f"{menu}\n\nText number {number}.\n\n---\n\n  {notice}\n\n{'The end.' if number < 3 else 'More.'}"
        for number in range(6)
    ]
    documents.append(f"{menu}\n{menu}\n---")
    documents.append(f"{notice} and more")
    texts = write_texts(documents, [5, 0, 3, 1, 2, 7, 6, 4])
    counts = Counter(line for text in documents for line in {line.strip() for line in text.split("\n")})
    assert (counts[menu], counts[notice], counts["More."], counts["---"]) == (7, 6, 3, 7)
    found = frequent_lines(texts, tmp_path / "lines", max_documents=3, text_bytes=1_000)
    assert len(found) == 2
    edit = line_cutter(found)
    left = [edit(row, text) for row, text in enumerate(documents)]
    assert left[0] == "Text number 0.\n\n---\n\nThe end."
    assert left[5] == "Text number 5.\n\n---\n\nMore."
    assert left[6:] == ["", f"{notice} and more"]


def test_no_frequent_line_no_change(tmp_path, write_texts):
    texts = write_texts(["one\n\n\n\ntwo", "one\nthree"], [0, 1])
    edit = line_cutter(frequent_lines(texts, tmp_path / "lines", max_documents=2, text_bytes=1_000))
    assert [edit(row, text) for row, text in sorted(texts.read())] == ["one\n\n\n\ntwo", "one\nthree"]


def pages_that_share(prose, html) -> list[tuple[str, bytes]]:
    """Twelve pages under one notice; two of them quote page 3 at length; one is all notice; one is all quotation."""
    notice = "This page is part of the old harbour collection and may be read by everybody who comes along."
    quoted = prose("quoted", 20)
    pages = [(f"http://site/{number:02d}", html(f"{notice}\n\n{prose(number)}")) for number in range(12)]
    pages[3] = ("http://site/03", html(f"{notice}\n\n{prose(3)}\n\n{quoted}\n\n{prose('3b')}"))
    pages[7] = ("http://site/07", html(f"{notice}\n\n{prose(7)}\n\n{quoted}\n\n{prose('7b')}"))
    return [*pages, ("http://site/20", html(quoted).replace(b"<h1>A page</h1>", b""))]


def test_what_is_cut_is_counted_and_what_ends_empty_is_dropped(tmp_path, prose, html, write_warc):
    pages = pages_that_share(prose, html)
    write_warc(tmp_path / "one/pages.warc.gz", pages)
    write_warc(tmp_path / "two/a.warc.gz", pages[:1:-1])
    write_warc(tmp_path / "two/b.warc.gz", pages[:2])
    made = [
        run(
            CorpusOptions(pages=tmp_path / name, workers=1, max_line_documents=5, passage_words=50, rules="none"),
            out=tmp_path / f"{name}-corpus",
        )
        for name in ("one", "two")
    ]
    assert made[0].digest == made[1].digest
    whole = run(CorpusOptions(pages=tmp_path / "one", workers=1, rules="none"), out=tmp_path / "whole")
    before, after = (documents_of(artifact.path) for artifact in (whole, made[0]))
    ledger = {row["url"]: row for row in read_ledger(made[0].path).to_pylist()}
    quoted, last = prose("quoted", 20), ledger["http://site/20"]
    assert "harbour collection" in before["http://site/05"] and "harbour collection" not in after["http://site/05"]
    assert quoted[:200] in after["http://site/03"] and quoted[:200] not in after["http://site/07"]
    assert (last["stage"], last["reason"], last["characters"]) == ("repeats", "passages", 0)
    assert last["cut_characters"] == len(before["http://site/20"])
    for url, text in after.items():
        assert ledger[url]["characters"] == len(text)
        assert ledger[url]["cut_characters"] == len(before[url]) - len(text) > 0
    facts = made[0].facts
    assert facts["cut_characters"] == sum(row["cut_characters"] for row in ledger.values())
    assert facts["records"] == facts["documents"] + sum(facts["dropped"].values())
    assert facts["funnel"][-1] == {
        "stage": "repeats",
        "documents": 12,
        "bytes": sum(len(text.encode()) for text in after.values()),
    }
    assert facts["reasons"] == {"passages": 1}


def test_what_two_stages_cut(tmp_path, prose, html, write_warc, capsys):
    """Of one page the question goes and then all that is left; a kept one says how much of each."""
    question = "Which of the seven famous wooden bridges behind the old northern harbour did the blacksmith repair first?"
    quoted, first = prose("quoted", 12), html(prose("quoted", 40))
    more = f"{quoted}\n\n{question}\n\n{prose('more')}\n\nWrite to jane@harbour.org about it."
    pages = [
        ("http://site/0", first),
        ("http://site/1", html(f"{quoted}\n\n{question}").replace(b"<h1>A page</h1>", b"")),
        ("http://site/2", html(more)),
    ]
    (tmp_path / "evaluation.txt").write_text(question)
    corpus = run(
        CorpusOptions(
            pages=write_warc(tmp_path / "pages.warc.gz", pages),
            workers=1,
            decontaminate=tmp_path / "evaluation.txt",
            decontaminate_by="cut",
            passage_words=20,
            replace_addresses=True,
        ),
        out=tmp_path / "corpus",
    )
    _, gone, kept = read_ledger(corpus.path).to_pylist()
    assert (gone["stage"], gone["reason"], gone["value"], gone["threshold"]) == ("repeats", "passages", None, None)
    assert (gone["characters"], gone["cut_characters"]) == (0, len(quoted))
    assert (kept["stage"], kept["reason"], kept["value"]) == ("kept", "cut=evaluation.txt", 5)
    texts = documents_of(corpus.path)
    assert list(texts) == ["http://site/0", "http://site/2"]
    assert "jane@" not in texts["http://site/2"] and texts["http://site/2"].endswith(" about it.")
    assert corpus.facts["emails_replaced"] == 1
    assert corpus.facts["characters"] == sum(map(len, texts.values()))
    assert (corpus.facts["dropped"], corpus.facts["reasons"]) == ({"repeats": 1}, {"passages": 1})
    (sample,) = [sample for sample in read_samples(corpus.path) if sample["stage"] == "repeats"]
    assert sample["text"] == " ".join(quoted[:300].split())
    assert run_why(WhyOptions(corpus.path, "http://site/1")) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[1] == "    dropped at repeats: passages"
    assert f"cut_characters {len(quoted)}" in told[2]


def documents_of(corpus: Path) -> dict[str, str]:
    batches = read_documents(corpus, columns=("url", "text"))
    return {row["url"]: row["text"] for batch in batches for row in batch.to_pylist()}


def test_within_a_dump_alone(tmp_path, prose, html, write_warc):
    """The same text in two dumps stays twice, in one dump once; the same page in two dumps is one document."""
    folder = tmp_path / "pages"
    write_warc(folder / "CC-MAIN-2024-10/warc/a.warc.gz", [("http://a/1", html(prose(1))), ("http://a/2", html(prose(1)))])
    write_warc(
        folder / "CC-MAIN-2024-18/warc/a.warc.gz",
        [("http://b/1", html(prose(1) + " Indeed.")), ("http://a/1", html(prose(1)))],
    )
    everything = run(CorpusOptions(pages=folder, workers=1), out=tmp_path / "everything")
    within = run(CorpusOptions(pages=folder, workers=1, duplicates_within="dump"), out=tmp_path / "within")
    assert list(documents_of(everything.path)) == ["http://a/1"]
    assert list(documents_of(within.path)) == ["http://a/1", "http://b/1"]
    assert within.facts["dropped"] == {"exact_duplicate": 2}
