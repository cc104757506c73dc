"""`ropewalk sweep`: the same recipe at several depths, each on the tokens that its size asks for, and the law in between.

Each model is made by pretraining's own door in the part's scratch folder: what an interruption leaves there stands. The
law is L = a C^-b (Kaplan et al. 2020), a line through the logarithms of held-out bits per byte and of training operations;
without the constant that text cannot be compressed below, which a handful of small models does not show.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ropewalk.artifact import Artifact, Part
from ropewalk.evaluate import SweepOptions
from ropewalk.evaluate.curves import Plot
from ropewalk.evaluate.page import environment
from ropewalk.evaluate.plots import Series
from ropewalk.model.config import PRESETS, ModelConfig
from ropewalk.pretrain import CONTEXT_TOKENS, PretrainOptions
from ropewalk.pretrain import run as run_pretrain
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.runtime.progress import say
from ropewalk.tokenizer.encoding import Tokenizer

SWEEP = "sweep.json"
AHEAD = 10  # times the largest run's operations that the page looks ahead


@dataclass(frozen=True)
class Law:
    """bits per byte = `factor` x operations ^ -`exponent`; `off_fraction` is by how much it misses a point at most."""

    factor: float
    exponent: float
    off_fraction: float

    def at(self, operations: float) -> float:
        """Bits per byte that it predicts."""
        return self.factor * operations**-self.exponent


def fit(operations: Sequence[float], losses: Sequence[float]) -> Law:
    """The line of least squares through the logarithms."""
    exponent, log_factor = np.polyfit(np.log(operations), np.log(losses), 1)
    law = Law(math.exp(log_factor), -float(exponent), 0.0)
    off = max(abs(law.at(c) / loss - 1) for c, loss in zip(operations, losses, strict=True))
    return Law(law.factor, law.exponent, off)


def make_sweep(options: SweepOptions, part: Part) -> dict[str, Any]:
    """Train what is missing, fit, and write sweep.json and index.html; returns the main figures."""
    if len(set(options.depths)) < 2:
        raise OptionError("ropewalk sweep: give two depths or more, the law is a line between them")
    vocabulary = Tokenizer.load(options.tokenizer).vocabulary
    rows = []
    for depth in sorted(set(options.depths)):
        config = _config(options, depth, vocabulary)
        models = [_model(options, depth, config, seed, part) for seed in range(options.seeds)]
        rows.append(_row(depth, config, models))
    law = fit([row["operations"] for row in rows], [row["mean"] for row in rows])
    ahead = AHEAD * rows[-1]["operations"]
    figures = {
        "preset": options.preset,
        "tokens_per_parameter": options.tokens_per_parameter,
        "seeds": options.seeds,
        "models": rows,
        "law": {"factor": law.factor, "exponent": round(law.exponent, 5), "off_fraction": round(law.off_fraction, 5)},
        "ahead": {"operations": ahead, "bits_per_byte": round(law.at(ahead), 4)},
    }
    (part.folder / SWEEP).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    (part.folder / "index.html").write_text(_page(part.folder, figures), encoding="utf-8")
    say(f"bits per byte fall with operations to the power of {-law.exponent:.3f}, {law.off_fraction:.1%} off at most")
    return {"depths": [row["depth"] for row in rows], **{key: figures[key] for key in ("law", "ahead")}}


def _config(options: SweepOptions, depth: int, vocabulary: int) -> ModelConfig:
    return PRESETS[options.preset](
        depth=depth,
        vocabulary=vocabulary,
        context_tokens=options.context_tokens or CONTEXT_TOKENS[options.preset],
        head_width=options.head_width,
    )


def _model(options: SweepOptions, depth: int, config: ModelConfig, seed: int, part: Part) -> Artifact:
    say(f"sweep, depth {depth}: model {seed + 1} of {options.seeds}")
    made = run_pretrain(
        PretrainOptions(
            tokens=options.tokens,
            tokenizer=options.tokenizer,
            preset=options.preset,
            depth=depth,
            head_width=options.head_width,
            context_tokens=options.context_tokens,
            batch_rows=options.batch_rows,
            train_tokens=round(options.tokens_per_parameter * config.matrix_parameters),
            evaluate_documents=options.evaluate_documents,
            seed=seed,
            compile=options.compile,
        ),
        out=part.scratch / f"depth-{depth}-seed-{seed}",
    )
    if made.facts["held_out_bits_per_byte"] is None:
        raise InputError(f"{options.tokens} holds nothing out to measure on: make the corpus with a held_out_fraction")
    return made


def _row(depth: int, config: ModelConfig, models: Sequence[Artifact]) -> dict[str, Any]:
    losses = [model.facts["held_out_bits_per_byte"] for model in models]
    tokens = models[0].facts["tokens_read"]
    return {
        "depth": depth,
        "parameters": config.parameters,
        "tokens": tokens,
        "epochs": models[0].facts["epochs"],
        "operations": tokens * config.training_flops_per_token,
        "bits_per_byte": [round(loss, 5) for loss in losses],
        "mean": float(np.mean(losses)),
    }


def sweep_plot(figures: dict[str, Any]) -> Plot:
    """The measured points and the law, of the figures that sweep.json holds."""
    law = Law(**figures["law"])
    operations = [row["operations"] for row in figures["models"]]
    line = [float(place) for place in np.geomspace(operations[0], figures["ahead"]["operations"], 40)]
    series = [
        Series("measured", operations, [row["mean"] for row in figures["models"]], points=True),
        Series("law", line, [law.at(c) for c in line], dashed=True),
    ]
    caption = "Each point is the mean over seeds; both axes are logarithmic."
    return Plot("sweep", SWEEP, caption, series, "operations to train", "held-out bits per byte", logarithmic=True)


def _page(folder: Path, figures: dict[str, Any]) -> str:
    title = folder.resolve().name.removesuffix(".part")
    return environment().get_template("sweep.html.jinja").render(title=title, figures=figures, plot=sweep_plot(figures))
