"""The relevance classifier: labels in, a linear model out, and what it decides in a corpus."""

from __future__ import annotations

import json
import math
import pydoc
import random
from html import escape
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ropewalk.artifact import open_artifact
from ropewalk.corpus import ClassifierOptions, CorpusOptions, relevance, run, run_classifier
from ropewalk.corpus.best import choose_best
from ropewalk.corpus.classifier import area, roc
from ropewalk.corpus.labels import read_labels
from ropewalk.corpus.logistic import SparseRows, fit
from ropewalk.corpus.reading import read_documents, read_ledger
from ropewalk.corpus.relevance import Classifier, features, load_classifier
from ropewalk.runtime.errors import ArtifactError, InputError, OptionError

GOOD = '{"text": "The sea is wide.", "label": 1}'


def write_labels(path: Path, rows: list[tuple[str, int]]) -> Path:
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows), encoding="utf-8")
    return path


@pytest.fixture
def labels(tmp_path, prose) -> Path:
    """Prose of sailors, wanted, and chapters of Python's manual, not wanted."""
    wanted = [(prose(f"wanted {number}", 8), 1) for number in range(80)]
    chapters = [(text[:1_500], 0) for _, text in sorted(topics.items())]
    return write_labels(tmp_path / "labels.jsonl", [*wanted, *chapters])


@pytest.fixture
def classifier(tmp_path, labels) -> Path:
    return run_classifier(ClassifierOptions(labels=labels, hash_bits=14), out=tmp_path / "classifier").path


def test_it_tells_texts_that_it_has_not_seen(classifier, prose):
    facts = open_artifact(classifier, "classifier").facts
    chapters = len({text[:1_500] for text in topics.values()})
    assert (facts["texts"], facts["wanted_texts"]) == (80 + chapters, 80)
    assert facts["held_out_texts"] == 16 + math.ceil(chapters / 5)
    assert facts["held_out_roc_auc"] == 1 and facts["held_out_accuracy"] == 1
    assert "sailor" not in facts["unwanted_words"] and {"is", "a"} & set(facts["unwanted_words"])
    loaded = load_classifier(classifier)
    assert loaded.score(prose("another")) > 0.9
    assert loaded.score(pydoc.render_doc("textwrap", renderer=pydoc.plaintext)) < 0.1
    points = json.loads((classifier / "roc.json").read_text())
    assert points[-1]["true_positive_fraction"] == points[-1]["false_positive_fraction"] == 1
    assert area(points) == facts["held_out_roc_auc"]


def test_the_same_labels_give_the_same_bytes_in_any_order(tmp_path, labels, classifier):
    rows = [json.loads(line) for line in labels.read_text().splitlines()]
    shuffled = random.Random(1).sample(rows, len(rows))
    write_labels(tmp_path / "mine.jsonl", [(row["text"], row["label"]) for row in [*shuffled, *rows[:9]]])
    pq.write_table(pa.Table.from_pylist(shuffled), tmp_path / "labels.parquet")
    for source in (tmp_path / "mine.jsonl", tmp_path / "labels.parquet"):
        again = run_classifier(ClassifierOptions(labels=source, hash_bits=14), out=tmp_path / f"again-{source.name}")
        assert again.digest == open_artifact(classifier).digest
    other = run_classifier(ClassifierOptions(labels=labels, hash_bits=14, l2=1e-2), out=tmp_path / "other")
    assert other.digest != open_artifact(classifier).digest


def test_a_corpus_keeps_what_is_wanted_and_says_by_how_much(tmp_path, classifier, prose, html, write_warc):
    manual = escape(topics["customization"])
    pages = [(f"http://site/{number}", html(prose(number))) for number in range(8)] + [("http://site/python", html(manual))]
    warc = write_warc(tmp_path / "pages.warc.gz", pages)
    options = {"pages": warc, "rules": "none", "workers": 1}
    artifact = run(CorpusOptions(**options, classifier=classifier), out=tmp_path / "corpus")
    ledger = {row["url"]: row for row in read_ledger(artifact.path).to_pylist()}
    dropped = ledger["http://site/python"]
    assert (dropped["stage"], dropped["reason"], dropped["threshold"]) == ("relevance", "irrelevant", 0.5)
    assert dropped["value"] < 0.5
    documents = [row for batch in read_documents(artifact.path, columns=("text", "relevance")) for row in batch.to_pylist()]
    assert [row["relevance"] for row in documents] == [load_classifier(classifier).score(row["text"]) for row in documents]
    assert len(documents) == 8 and min(row["relevance"] for row in documents) > 0.5
    funnel = {step["stage"]: step["documents"] for step in artifact.facts["funnel"]}
    stages = list(funnel)
    assert stages[stages.index("relevance") - 1] == "quality" and (funnel["quality"], funnel["relevance"]) == (9, 8)
    assert artifact.facts["reasons"] == {"irrelevant": 1}
    without = run(CorpusOptions(**options), out=tmp_path / "without")
    unscored = [row for batch in read_documents(without.path, columns=("relevance",)) for row in batch.to_pylist()]
    assert unscored == [{"relevance": None}] * 9
    with pytest.raises(OptionError, match="'min_relevance' is 2"):
        run(CorpusOptions(**options, classifier=classifier, min_relevance=2.0), out=tmp_path / "senseless")
    with pytest.raises(ArtifactError):
        run(CorpusOptions(**options, classifier=without.path), out=tmp_path / "of-another-kind")


def test_a_classifier_of_other_features_is_refused_before_any_page(tmp_path, classifier, html, write_warc, monkeypatch):
    monkeypatch.setattr(relevance, "FEATURES", "those of another version")
    warc = write_warc(tmp_path / "pages.warc.gz", [("http://site/1", html("The sea is wide."))])
    with pytest.raises(ArtifactError, match="train it anew"):
        run(CorpusOptions(pages=warc, classifier=classifier), out=tmp_path / "corpus")
    assert not list(tmp_path.glob("corpus*/scratch/batch-*"))


def test_features_are_distinct_words_and_pairs_in_lower_case():
    assert features("The sea, the SEA", bits=20).tolist() == features("the sea the sea", bits=20).tolist()
    assert len(features("the sea the sea", bits=20)) == 4  # the, sea, the sea, sea the
    assert len(features("word", bits=20)) == len(features("", bits=20)) == 1
    assert features("the sea is wide", bits=8).max() < 256


def test_the_score_is_the_logistic_function_of_the_mean_weight():
    weights = np.zeros(2**10, np.float32)
    found = features("the sea is", bits=10)
    assert len(found) == 5
    weights[found[0]] = 2.0
    assert Classifier(weights, 0.25).score("the sea is") == pytest.approx(1 / (1 + np.exp(-(2 / 5**0.5 + 0.25))), abs=1e-6)
    assert Classifier(weights - 1e6, 0.0).score("the sea is") == 0


@pytest.mark.parametrize("l2", [1.0, 1e-3, 1e-6, 1e-30])
def test_the_fit_is_the_minimum(l2):
    """At the only minimum of a convex function, the gradient, written out densely here, is zero."""
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(60, 20)) * (rng.random((60, 20)) < 0.4)
    dense[:, 0] = 1
    places = [np.flatnonzero(row) for row in dense]
    starts = np.cumsum([0, *map(len, places)])
    values = np.concatenate([row[found] for row, found in zip(dense, places, strict=True)])
    rows = SparseRows(np.concatenate(places), values, starts, features=20)
    signs = np.where(dense[:, 1] + rng.normal(size=60) > 0, 1.0, -1.0)
    weights = fit(rows, signs, l2=l2)
    gradient = l2 * weights - dense.T @ (signs / (1 + np.exp(signs * (dense @ weights)))) / 60
    assert np.abs(gradient).max() < 1e-8 and np.abs(weights).max() > 0.01


def test_roc_agrees_with_a_plain_count():
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores = rng.integers(0, 6, size=30) / 5
        wanted = rng.random(30) < 0.4
        wanted[:2] = [True, False]
        points = roc(scores, wanted)
        for point in points:
            assert point["true_positive_fraction"] == (scores[wanted] >= point["threshold"]).mean()
            assert point["false_positive_fraction"] == (scores[~wanted] >= point["threshold"]).mean()
        pairs = [(good > bad) + (good == bad) / 2 for good in scores[wanted] for bad in scores[~wanted]]
        assert area(points) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "line 2 is not JSON"),
        ("7", "line 2 is not a JSON object"),
        ('{"text": "The sea"}', "line 2 has no text or no label"),
        ('{"text": " ", "label": 1}', "line 2 has no text in its text"),
        ('{"text": "The sea", "label": true}', "line 2 has the label true"),
        ('{"text": "The sea", "label": 2}', "line 2 has the label 2"),
        ('{"text": "The sea", "label": "1"}', 'line 2 has the label "1"'),
        ('{"text": "the SEA is  wide.", "label": 0}', r"line 2 has the text of .*labels.jsonl, line 1 with the other label"),
    ],
)
def test_bad_labels_are_named_by_file_and_line(tmp_path, line, sentence):
    path = tmp_path / "labels.jsonl"
    path.write_text(f"{GOOD}\n{line}\n")
    with pytest.raises(InputError, match=rf"labels\.jsonl, {sentence}"):
        read_labels(path)


def test_other_bad_files(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_bytes(GOOD.encode() + b"\n\xff\n")
    with pytest.raises(InputError, match="line 2 is not UTF-8"):
        read_labels(path)
    with pytest.raises(InputError, match="is not a file"):
        read_labels(tmp_path / "none.jsonl")
    (tmp_path / "labels.parquet").write_text(GOOD)
    with pytest.raises(InputError, match="is not Parquet"):
        read_labels(tmp_path / "labels.parquet")
    pq.write_table(pa.table({"text": ["a b"], "quality": [1]}), tmp_path / "labels.parquet")
    with pytest.raises(InputError, match="row 1 has no text or no label"):
        read_labels(tmp_path / "labels.parquet")


def test_both_labels_are_needed_twice(tmp_path):
    path = write_labels(tmp_path / "labels.jsonl", [("one sea", 1), ("two seas", 1), ("one class", 0), ("One  class", 0)])
    with pytest.raises(InputError, match="has 1 different texts with label 0: at least 2"):
        run_classifier(ClassifierOptions(labels=path), out=tmp_path / "classifier")
    write_labels(path, [("one sea", 1), ("two seas", 1), ("one class", 0), ("two classes", 0)])
    assert run_classifier(ClassifierOptions(labels=path), out=tmp_path / "enough").facts["held_out_texts"] == 2


def test_a_fraction_of_the_documents_is_kept_the_best_of_them(tmp_path, classifier, prose, html, write_warc):
    """Texts from all of sailors to all of Python; copies do not count, and the cut is where it says."""
    manual = [escape(text) for _, text in sorted(topics.items())]
    texts = [f"{prose(number, 3 + number % 40)}\n\n{manual[number][:1_200]}" for number in range(50)]
    pages = [(f"http://site/{number:03d}", html(text)) for number, text in enumerate([*texts, *texts[:30]])]
    options = {"rules": "none", "languages": (), "language_threshold": 0.0, "workers": 1, "min_relevance": 0.0}
    options |= {"classifier": classifier, "near_duplicates": False}

    def make(name, found, **more):
        warc = write_warc(tmp_path / f"{name}.warc.gz", found)
        return run(CorpusOptions(pages=warc, **{**options, **more}), out=tmp_path / name)

    whole = make("whole", pages)
    scored = [row for b in read_documents(whole.path, columns=("url", "relevance")) for row in b.to_pylist()]
    assert len(scored) == 50 and len({row["relevance"] for row in scored}) > 30
    best = make("best", pages, keep_fraction=0.31)
    kept = [row for b in read_documents(best.path, columns=("url", "relevance")) for row in b.to_pylist()]
    wanted = sorted(scored, key=lambda row: -row["relevance"])[:16]  # 15.5, rounded up
    assert {row["url"] for row in kept} == {row["url"] for row in wanted}
    least = min(row["relevance"] for row in wanted)
    assert best.facts["least_relevance"] == least
    assert best.facts["dropped"] == {"exact_duplicate": 30, "quantile": 34} and best.facts["reasons"]["quantile"] == 34
    funnel = {step["stage"]: step["documents"] for step in best.facts["funnel"]}
    assert (funnel["near_duplicate"], funnel["quantile"]) == (50, 16)
    relevance_of = {row["url"]: row["relevance"] for row in scored}
    for row in read_ledger(best.path).to_pylist():
        if row["stage"] == "quantile":
            assert (row["value"], row["threshold"], row["duplicate_of"]) == (relevance_of[row["url"]], least, None)
            assert row["value"] <= least
    other = make("other", random.Random(3).sample(pages, len(pages)), keep_fraction=0.31, workers=2)
    assert other.digest == best.digest


def test_equal_scores_share_the_places_by_rank_and_nobody_else_does():
    rng = np.random.default_rng(5)
    for fraction in (0.001, 0.25, 0.5, 0.999, 1.0):
        scores = rng.choice([0, 1, 499_999, 500_000, 1_000_000], size=997).astype(np.uint32)
        ranks = rng.permutation(997).astype(np.uint64)
        best = choose_best(scores, lambda ranks=ranks: ranks, fraction=fraction)
        expected = sorted(range(997), key=lambda at: (-int(scores[at]), ranks[at]))[: math.ceil(fraction * 997)]
        assert np.flatnonzero(best).tolist() == sorted(expected)
    assert choose_best(np.zeros(0, np.uint32), lambda: np.zeros(0), fraction=0.5).tolist() == []


def test_a_fraction_needs_something_that_scores(tmp_path, html, write_warc):
    warc = write_warc(tmp_path / "pages.warc.gz", [("http://site/1", html("The sea is wide."))])
    with pytest.raises(OptionError, match="nothing scores the pages: give a classifier too"):
        run(CorpusOptions(pages=warc, keep_fraction=0.5), out=tmp_path / "corpus")
