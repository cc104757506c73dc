"""How much a text is of the wanted kind: a linear classifier over its words and pairs of words.

FineWeb-Edu (Penedo et al. 2024) and DCLM (Li et al. 2024) choose pages by such a classifier; DCLM's is fastText's, which
this one resembles but for the learned embedding. A feature is a distinct word or pair of neighbouring words, in lower
case, hashed to a number; a text with n features has 1/sqrt(n) at each of them, so that its length does not count.

    weights.npy       float32, one per feature number; workers read it by memory map and share the memory
    classifier.json   bias, and the version of the features
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ropewalk.artifact import open_artifact
from ropewalk.corpus.hashes import WORDS_VERSION, distinct, hash_runs, word_hashes
from ropewalk.runtime.errors import ArtifactError

FEATURES = f"{WORDS_VERSION}-words-1-2/2"
WEIGHTS = "weights.npy"
SETTINGS = "classifier.json"


@dataclass(frozen=True)
class Classifier:
    """A linear model. weights: float32 (F,), F a power of two."""

    weights: np.ndarray
    bias: float

    def score(self, text: str) -> float:
        """The probability that the text is wanted, to six digits."""
        found = features(text, bits=len(self.weights).bit_length() - 1)
        logit = float(self.weights[found].sum(dtype=np.float64)) / math.sqrt(len(found)) + self.bias
        return round(0.5 + 0.5 * math.tanh(0.5 * logit), 6)

    def save(self, folder: Path) -> None:
        """Write weights and settings."""
        np.save(folder / WEIGHTS, self.weights, allow_pickle=False)
        settings = {"features": FEATURES, "bias": self.bias}
        (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def features(text: str, *, bits: int) -> np.ndarray:
    """Distinct feature numbers below 2**bits, ascending, at least one."""
    words = word_hashes(text)
    runs = np.concatenate([hash_runs(words, length=1), hash_runs(words, length=2)])
    return distinct((runs >> np.uint64(64 - bits)).astype(np.int64))


@functools.cache
def load_classifier(path: Path) -> Classifier:
    """Open a classifier, once in a process.

    Raises:
        ArtifactError: no classifier, or one whose features another version of ropewalk hashed.
    """
    folder = open_artifact(path, "classifier").path
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    if settings["features"] != FEATURES:
        raise ArtifactError(f"{path} reads features {settings['features']!r}, not {FEATURES!r}: train it anew with --force")
    return Classifier(np.load(folder / WEIGHTS, mmap_mode="r", allow_pickle=False), settings["bias"])
