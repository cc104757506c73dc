"""The curve of a relevance classifier: what each threshold keeps of texts that it has not seen."""

from __future__ import annotations

import json
from typing import Any

from ropewalk.artifact import Artifact
from ropewalk.corpus.classifier import ROC
from ropewalk.evaluate.curves import Plot
from ropewalk.evaluate.plots import Series

MOST_POINTS = 400


def roc_plot(classifier: Artifact, corpus: Artifact) -> Plot:
    """A plot of roc.json, and in words what the corpus' threshold keeps."""
    points: list[dict[str, Any]] = json.loads((classifier.path / ROC).read_text(encoding="utf-8"))
    # Where the quantile decided, the least score that it kept is the threshold.
    threshold = max(corpus.options["min_relevance"], corpus.facts.get("least_relevance", 0.0))
    reached = [point for point in points if point["threshold"] >= threshold]
    kept = reached[-1] if reached else {"true_positive_fraction": 0.0, "false_positive_fraction": 0.0}
    drawn = points[:: max(1, len(points) // MOST_POINTS)]
    false = [0.0, *(point["false_positive_fraction"] for point in drawn), 1.0]
    true = [0.0, *(point["true_positive_fraction"] for point in drawn), 1.0]
    here = [kept["false_positive_fraction"]], [kept["true_positive_fraction"]]
    series = [Series("any threshold", false, true), Series(f"{threshold:.3g}, as here", *here)]
    facts, wanted, others = classifier.facts, kept["true_positive_fraction"], kept["false_positive_fraction"]
    caption = (
        f"The classifier on {facts['held_out_texts']:,} labelled texts that it has not seen: area under the curve "
        f"{facts['held_out_roc_auc']:.4f}. At {threshold:.3g}, as in this corpus, {wanted:.1%} of the wanted texts and "
        f"{others:.1%} of the others are kept."
    )
    return Plot("classifier", f"{classifier.path.name}/{ROC}", caption, series, "unwanted texts kept", "wanted texts kept")
