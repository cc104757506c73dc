"""How much of a text stands in the pages, against a marking of single characters."""

from __future__ import annotations

import json

import pytest

from ropewalk.corpus.reading import read_documents
from ropewalk.evaluate.measure import EVALUATION
from ropewalk.evaluate.verbatim import covered_characters, verbatim_figures
from ropewalk.trace.index import Index


@pytest.mark.parametrize(
    ("spans", "covered"),
    [([], 0), ([(3, 9)], 6), ([(0, 5), (5, 9)], 9), ([(0, 6), (2, 8), (7, 20)], 20), ([(1, 2), (9, 12)], 4)],
)
def test_overlaps_count_once(spans, covered):
    assert covered_characters(spans) == covered == len({at for start, end in spans for at in range(start, end)})


def test_what_is_copied_is_verbatim_and_noise_is_not(home):
    corpus = home.folder / "corpus"
    pages = [
        text for batch in read_documents(corpus, columns=("text",), split="train") for text in batch["text"].to_pylist()
    ]
    copied = next(text for text in pages if len(text) > 300)[100:250]
    noise = "zq xj wv kq " * 10
    with Index.open(home.folder / "index") as index:
        found = verbatim_figures(index, [copied, noise + copied, noise], corpus)
    assert found["generated"] == {
        "texts": 3,
        "characters": 2 * len(copied) + 2 * len(noise),
        "verbatim_characters": 2 * len(copied),
        "fraction": round(len(copied) / (len(copied) + len(noise)), 4),
        "longest_characters": len(copied),
    }
    assert 0 < found["held_out"]["characters"] <= found["held_out"]["texts"] * len(noise + copied)


def test_an_evaluation_has_it_where_there_is_an_index(evaluation):
    figures = json.loads((evaluation / EVALUATION).read_text())["verbatim"]
    assert figures["generated"]["texts"] > 0
    assert 0 <= figures["generated"]["fraction"] <= 1
    assert figures["held_out"]["characters"] > 0
