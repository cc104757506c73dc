"""Train the relevance classifier and measure it on texts that it has not seen."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ropewalk.artifact import Part
from ropewalk.corpus import ClassifierOptions
from ropewalk.corpus.labels import Label, read_labels
from ropewalk.corpus.logistic import SparseRows, fit
from ropewalk.corpus.relevance import Classifier, features
from ropewalk.corpus.words import split_words
from ropewalk.runtime.errors import InputError

ROC = "roc.json"
TELLING_WORDS = 20


def make_classifier(part: Part, options: ClassifierOptions) -> Mapping[str, Any]:
    """Learn from four fifths of the texts, measure on the rest, write both down; returns the facts."""
    labels = read_labels(options.labels)
    training, held_out = split(labels, options.held_out_fraction, path=options.labels)
    classifier = train(training, bits=options.hash_bits, l2=options.l2)
    classifier.save(part.folder)
    scores = np.array([classifier.score(label.text) for label in held_out])
    wanted = np.array([label.wanted for label in held_out])
    points = roc(scores, wanted)
    (part.folder / ROC).write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")
    unwanted_words, wanted_words = telling_words(classifier, (label.text for label in training))
    return {
        "texts": len(labels),
        "wanted_texts": sum(label.wanted for label in labels),
        "held_out_texts": len(held_out),
        "held_out_roc_auc": round(area(points), 6),
        "held_out_accuracy": round(float(((scores >= 0.5) == wanted).mean()), 6),
        "wanted_words": wanted_words,
        "unwanted_words": unwanted_words,
    }


def split(labels: Sequence[Label], fraction: float, *, path: Path) -> tuple[list[Label], list[Label]]:
    """Set aside the first of each label by the hash of their text, rounded up; what is left is to learn from.

    Raises:
        InputError: fewer than two texts have one of the labels.
    """
    training: list[Label] = []
    held_out: list[Label] = []
    for wanted in (False, True):
        ranked = sorted((label for label in labels if label.wanted is wanted), key=lambda label: label.key)
        if len(ranked) < 2:
            raise InputError(
                f"{path} has {len(ranked)} different texts with label {int(wanted)}: "
                "at least 2 of each label are needed, one to learn from and one to measure"
            )
        aside = min(math.ceil(Fraction(str(fraction)) * len(ranked)), len(ranked) - 1)
        held_out += ranked[:aside]
        training += ranked[aside:]
    return training, held_out


def train(labels: Sequence[Label], *, bits: int, l2: float) -> Classifier:
    """Fit the weights. The bias is the weight of a last feature, which is 1 in every text."""
    found = [features(label.text, bits=bits) for label in labels]
    columns, places = np.unique(np.concatenate(found), return_inverse=True)
    ends = np.cumsum([len(each) for each in found])
    values = np.repeat([1 / math.sqrt(len(each)) for each in found], [len(each) for each in found])
    rows = SparseRows(
        columns=np.insert(places, ends, len(columns)),
        values=np.insert(values, ends, 1.0),
        starts=np.concatenate([[0], ends + np.arange(1, len(found) + 1)]),
        features=len(columns) + 1,
    )
    solved = fit(rows, np.array([1.0 if label.wanted else -1.0 for label in labels]), l2=l2)
    weights = np.zeros(2**bits, dtype="<f4")
    weights[columns] = solved[:-1]
    return Classifier(weights, float(np.float32(solved[-1])))


def roc(scores: np.ndarray, wanted: np.ndarray) -> list[dict[str, float]]:
    """For every score as the threshold, highest first: the fractions of wanted and of unwanted texts that reach it."""
    order = np.argsort(-scores, kind="stable")
    ranked, truth = scores[order], wanted[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    true_positive = np.cumsum(truth)[last] / truth.sum()
    false_positive = np.cumsum(~truth)[last] / (~truth).sum()
    return [
        {"threshold": float(ranked[at]), "true_positive_fraction": float(true), "false_positive_fraction": float(false)}
        for at, true, false in zip(last, true_positive, false_positive, strict=True)
    ]


def area(points: Sequence[Mapping[str, float]]) -> float:
    """The area under a ROC curve: how often a wanted text scores above an unwanted one, equal scores counted half."""
    total = false = true = 0.0
    for point in points:
        total += (point["false_positive_fraction"] - false) * (point["true_positive_fraction"] + true) / 2
        false, true = point["false_positive_fraction"], point["true_positive_fraction"]
    return total


def telling_words(classifier: Classifier, texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """The words with the least and with the greatest weights, for people to see what it goes by."""
    bits = len(classifier.weights).bit_length() - 1
    words = {word for text in texts for word in split_words(text.lower())}
    ranked = sorted(words, key=lambda word: (float(classifier.weights[features(word, bits=bits)].sum()), word))
    return ranked[:TELLING_WORDS], ranked[: -TELLING_WORDS - 1 : -1]
