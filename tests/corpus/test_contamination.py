"""Passages of evaluation sets are found in pages, and go."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ropewalk.corpus import CorpusOptions, run
from ropewalk.corpus.contamination import cut, find_overlap
from ropewalk.corpus.reading import read_documents, read_ledger
from ropewalk.corpus.words import split_words
from ropewalk.runtime.errors import InputError

LONG = (
    "Which of the seven famous wooden bridges behind the old northern harbour did the careful blacksmith repair first?"  # 18
)
SHORT = "Who sells the golden lantern beside the winter market?"  # 9 words
TINY = "Who repairs the old bridge?"


@pytest.fixture
def evaluation(tmp_path):
    """A folder with an evaluation set of each form."""
    folder = tmp_path / "evaluation"
    folder.mkdir()
    questions = [[{"role": "user", "content": text}] for text in (LONG, TINY)]
    lines = [json.dumps({"messages": messages, "accept": [LONG.replace("Which", "These")]}) for messages in questions]
    (folder / "questions.jsonl").write_text("\n".join(lines))
    (folder / "lines.txt").write_text(f"{SHORT}\n\n{TINY}\n")
    table = pa.table({"text": ["Nobody ever wrote on any page that fourteen dogs can count up to twenty."], "id": [1]})
    pq.write_table(table, folder / "table.parquet")
    return folder


@pytest.fixture
def pages(tmp_path, prose, html, write_warc):
    """Clean pages, and some with a passage between their paragraphs."""
    passages = {
        "long": f"He asked: {LONG.upper()} Nobody knew.",
        "part": " ".join(LONG.split()[2:15]),  # 13 words
        "less": " ".join(LONG.split()[2:14]),
        "short": f"{SHORT[:-1]} at night",
        "broken": SHORT.replace("golden", "golden, golden"),
        "tiny": TINY,
    }
    pages = [(f"http://site/clean/{number}", html(prose(number))) for number in range(3)]
    for name, passage in passages.items():
        paragraphs = prose(name).split("\n\n")
        pages.append((f"http://site/{name}", html("\n\n".join([*paragraphs[:5], passage, *paragraphs[5:]]))))
    pages.append(("http://site/only", html(f"{LONG} {prose('only')}".replace("\n\n", " "))))
    return write_warc(tmp_path / "pages.warc.gz", pages)


def by_name(artifact):
    rows = read_ledger(artifact.path).to_pylist()
    return {row["url"].removeprefix("http://site/"): (row["stage"], row["reason"], row["value"]) for row in rows}


def test_pages_with_a_passage_are_dropped(tmp_path, evaluation, pages):
    artifact = run(CorpusOptions(pages=pages, decontaminate=evaluation, workers=1), out=tmp_path / "corpus")
    fates = by_name(artifact)
    assert {name: fate[1:] for name, fate in fates.items() if fate[0] == "contamination"} == {
        "long": ("overlap=questions.jsonl", 6),
        "only": ("overlap=questions.jsonl", 6),
        "part": ("overlap=questions.jsonl", 1),
        "short": ("overlap=lines.txt", 1),
    }
    assert {name for name, fate in fates.items() if fate[0] == "kept"} == {
        "clean/0", "clean/1", "clean/2", "less", "broken", "tiny",
    }  # fmt: skip
    assert artifact.facts["contamination"] == {
        "lines.txt": {"texts": 2, "too_short": 1, "runs": 1, "pages": 1},
        "questions.jsonl": {"texts": 2, "too_short": 1, "runs": 6, "pages": 3},
        "table.parquet": {"texts": 1, "too_short": 0, "runs": 2, "pages": 0},
    }


def test_lines_with_a_passage_are_cut(tmp_path, evaluation, pages):
    plain = run(CorpusOptions(pages=pages, workers=1), out=tmp_path / "plain")
    options = CorpusOptions(pages=pages, decontaminate=evaluation, decontaminate_by="cut", workers=1)
    artifact = run(options, out=tmp_path / "corpus")
    fates = by_name(artifact)
    assert fates["long"] == ("kept", "cut=questions.jsonl", 6)
    assert fates["only"] == ("contamination", "overlap=questions.jsonl", 6)  # its one line goes, and nothing is left
    assert artifact.facts["contamination"]["questions.jsonl"]["pages"] == 3
    texts = [
        {row["url"].removeprefix("http://site/"): row["text"] for row in batch.to_pylist()}
        for corpus in (plain, artifact)
        for batch in read_documents(corpus.path, columns=("url", "text"))
    ]
    for name, text in texts[1].items():
        before, after = texts[0][name].split("\n"), text.split("\n")
        gone = [line for line in before if line not in after]
        assert [line for line in before if line in after] == after
        assert len(gone) == (name in ("long", "part", "short"))


def test_lengths_are_options(tmp_path, evaluation, pages):
    options = CorpusOptions(pages=pages, decontaminate=evaluation, decontaminate_least_words=5, workers=1)
    assert by_name(run(options, out=tmp_path / "tiny"))["tiny"][:2] == ("contamination", "overlap=lines.txt")
    options = CorpusOptions(pages=pages, decontaminate=evaluation, decontaminate_words=12, workers=1)
    assert by_name(run(options, out=tmp_path / "less"))["less"][0] == "contamination"


def test_an_evaluation_that_cannot_be_read_is_refused(tmp_path, evaluation, pages):
    def refused(match):
        with pytest.raises(InputError, match=match):
            run(CorpusOptions(pages=pages, decontaminate=evaluation, workers=1), out=tmp_path / "corpus", force=True)

    (evaluation / "notes.docx").write_bytes(b"PK")
    refused("notes.docx is no evaluation set")
    (evaluation / "notes.docx").rename(evaluation / "notes.parquet")
    refused("notes.parquet is not Parquet")
    (evaluation / "notes.parquet").unlink()
    (evaluation / "answers.jsonl").write_text('{"text": "one"}\n{"answer": "two"}')
    refused("answers.jsonl, line 2 has no text to look for")
    for path in evaluation.iterdir():
        path.unlink()
    refused("is empty")
    (evaluation / "lines.txt").write_text(TINY)
    refused("nothing to look for")


def test_overlap_is_that_of_plain_sets(prose):
    """Against the words themselves: runs of two lengths, from two files."""
    from ropewalk.corpus.contamination import Runs
    from ropewalk.corpus.hashes import hash_runs, word_hashes

    text, known, wanted = prose("text", 30), {}, {}
    for length, (piece, file) in {3: (prose("text", 4), 0), 5: (prose("other", 9) + text[200:400], 1)}.items():
        hashes = np.unique(hash_runs(word_hashes(piece), length=length))
        known[length] = Runs(hashes, np.full(len(hashes), file))
        words = split_words(piece.lower())
        wanted[length] = {tuple(words[start : start + length]) for start in range(len(words) - length + 1)}
    words = split_words(text.lower())
    inside = [False] * len(words)
    shared = {0: set(), 1: set()}
    for file, (length, runs) in enumerate(wanted.items()):
        for start in range(len(words) - length + 1):
            if (found := tuple(words[start : start + length])) in runs:
                shared[file].add(found)
                inside[start : start + length] = [True] * length
    overlap = find_overlap(text, known)
    assert overlap.inside.tolist() == inside
    assert overlap.files == {file: len(runs) for file, runs in shared.items()}
    assert not any(find_overlap(line, known).files for line in cut(text, overlap.inside).split("\n"))
