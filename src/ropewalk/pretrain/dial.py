"""One dial: what follows from the depth of a model. A pure function; `ropewalk size` prints it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ropewalk.model.config import ModelConfig

TOKENS_PER_PARAMETER = 10.5  # between what costs least to train (Hoffmann et al. 2022: 20) and nanochat's 8
BASE_WIDTH = 256  # the width at which the rates of embedding and head were found


@dataclass(frozen=True)
class Dial:
    """What a shape asks for, where options do not say otherwise.

    train_tokens: a multiple of the parameters that tokens are multiplied with. batch_rows: sequences a step. Rates are
    peaks: of the matrices' (Muon), which a matrix' size does not change, and of AdamW's for embedding and head, which fall
    with the root of the width (Yang et al. 2022; nanochat).
    """

    train_tokens: int
    batch_rows: int
    matrix_rate: float
    embedding_rate: float
    head_rate: float
    norm_rate: float
    weight_decay: float


def turn(config: ModelConfig, given: Mapping[str, Any]) -> Dial:
    """The dial of a shape, with what is `given` (not None) in its place."""
    train_tokens = given.get("train_tokens") or round(TOKENS_PER_PARAMETER * config.matrix_parameters)
    narrowness = (BASE_WIDTH / config.width) ** 0.5
    derived = {
        "train_tokens": train_tokens,
        "batch_rows": _batch_rows(config.context_tokens, int(train_tokens)),
        "matrix_rate": 0.02,
        "embedding_rate": 0.1 * narrowness,
        "head_rate": 0.006 * narrowness,
        "norm_rate": 0.01,
        "weight_decay": 0.1,
    }
    chosen = {name: value if given.get(name) is None else given[name] for name, value in derived.items()}
    return Dial(**chosen)


def _batch_rows(context_tokens: int, train_tokens: int) -> int:
    """Some 2,500 steps: tokens enough in each for a steady gradient, steps enough to learn from them.

    nanochat's speed runs take 2,200 at depth 12 and 5,600 at depth 24; our own small runs learn less from fewer.
    """
    tokens = max(4_096, min(2**20, 2 ** round(math.log2(train_tokens / 2_500))))
    return max(1, tokens // context_tokens)


def explained(config: ModelConfig, dial: Dial, given: Mapping[str, Any]) -> str:
    """The shape and the dial as a table, with what was set by hand marked."""
    rows = [("shape", "", "")]
    rows += [(name, _shown(value), "") for name, value in _shape(config).items()]
    rows += [("run", "", "")]
    steps = -(-dial.train_tokens // (dial.batch_rows * config.context_tokens))
    for field in fields(dial):
        rows.append((field.name, _shown(getattr(dial, field.name)), "" if given.get(field.name) is None else "set by hand"))
    rows.append(("steps", _shown(steps), ""))
    rows.append(
        ("operations", f"{dial.train_tokens * config.training_flops_per_token:.3g}", "to train, forward and backward")
    )
    return "\n".join(
        f"\n{name}" if not value else f"  {name:<22}{value:>16}  {note}".rstrip() for name, value, note in rows
    ).strip("\n")


def _shape(config: ModelConfig) -> dict[str, object]:
    return {
        "layers": config.layers,
        "width": config.width,
        "query_heads": config.query_heads,
        "key_value_heads": config.key_value_heads,
        "head_width": config.head_width,
        "feed_forward_width": config.feed_forward_width,
        "vocabulary": config.vocabulary,
        "context_tokens": config.context_tokens,
        "matrix_parameters": config.matrix_parameters,
        "parameters": config.parameters,
    }


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
