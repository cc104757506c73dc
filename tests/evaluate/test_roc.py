"""The classifier's curve in the report."""

from __future__ import annotations

import json
import random

import pytest

from ropewalk.corpus import ClassifierOptions, CorpusOptions, run, run_classifier
from ropewalk.evaluate.roc import roc_plot

SEA, LAND = "sea tide sail wave storm harbour".split(), "field plough wheat barn horse hedge".split()


def text(seed: int, words: list[str], others: list[str]) -> str:
    chance = random.Random(seed)
    return " ".join(chance.choice(words if chance.random() < 0.6 else others) for _ in range(12))


@pytest.mark.parametrize(("options", "threshold"), [({"min_relevance": 0.4}, "0.4"), ({"keep_fraction": 0.8}, None)])
def test_the_caption_says_what_the_threshold_keeps(tmp_path, options, threshold):
    rows = [{"text": text(n, SEA, LAND), "label": 1} for n in range(60)]
    rows += [{"text": text(n, LAND, SEA), "label": 0} for n in range(100, 160)]
    labels = tmp_path / "labels.jsonl"
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows))
    classifier = run_classifier(ClassifierOptions(labels=labels, held_out_fraction=0.5), out=tmp_path / "classifier")
    options |= {"languages": (), "language_threshold": 0.0, "rules": "none", "workers": 1}
    corpus = run(CorpusOptions(pages=labels, classifier=classifier.path, **options), out=tmp_path / "corpus")
    least = float(threshold or corpus.facts["least_relevance"])
    points = json.loads((classifier.path / "roc.json").read_text())
    kept = [point for point in points if point["threshold"] >= least][-1]
    assert 0 < kept["true_positive_fraction"] < 1 and classifier.facts["held_out_roc_auc"] < 1
    plot = roc_plot(classifier, corpus)
    assert plot.svg.startswith("<svg") and f"{least:.3g}, as here" in plot.svg
    wanted, others = kept["true_positive_fraction"], kept["false_positive_fraction"]
    assert f"{wanted:.1%} of the wanted texts and {others:.1%} of the others are kept" in plot.caption
