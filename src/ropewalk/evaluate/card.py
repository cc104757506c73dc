"""The model card: README.md in Hugging Face's form, its metadata on top (huggingface.co/docs/hub/model-cards)."""

from __future__ import annotations

import json
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

METRICS = {"bits_per_byte": "bits per byte", "accuracy": "accuracy"}


def model_card(figures: dict[str, Any]) -> str:
    """The card of a report's figures. What they do not hold is left out: a card says nothing that was not measured."""
    pages = Environment(
        loader=PackageLoader("ropewalk.evaluate", ""),
        autoescape=False,  # Markdown, whose characters are escaped by `text`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters.update(count=lambda number: f"{number:,}", percent=lambda share: f"{100 * share:.1f}%", text=_text)
    return pages.get_template("card.md.jinja").render(figures=figures, metadata=_metadata(figures))


def _metadata(figures: dict[str, Any]) -> str:
    """YAML between the lines; JSON is YAML, and needs no library."""
    model, corpus, options = figures["model"], figures["corpus"], figures["corpus_options"]
    measured = figures["evaluation"]
    results = [_result("held-out documents", "bits_per_byte", measured["bits_per_byte"]["model"])]
    if measured["questions"]:
        results += [
            _result(f"questions: {row['group']}", "accuracy", row["accuracy"]["share"])
            for row in measured["questions"]["groups"]
            if row["accuracy"]["of"]
        ]
    results += [
        _result(scores["task"], "accuracy", scores["acc_token"]["share"])
        for scores in figures["benchmarks"]
        if scores["model"]["digest"] == model["digest"]
    ]
    values = {
        "library_name": "ropewalk" if model["preset"] == "speed" else "transformers",  # nothing else loads that shape
        "pipeline_tag": "text-generation",
        "tags": ["ropewalk"],
        "language": options["languages"] if corpus and options["languages"] else None,
        "model-index": [{"name": model["name"], "results": results}],
    }
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items() if value is not None)


def _result(dataset: str, metric: str, value: float) -> dict[str, Any]:
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": dataset, "type": "own"},
        "metrics": [{"type": metric, "name": METRICS[metric], "value": value}],
    }


def _text(value: str) -> str:
    """A text of the model or of a page, as one paragraph that Markdown takes for words."""
    plain = " ".join(value.split())
    return "".join(f"\\{character}" if character in r"\`*_{}[]<>#|!" else character for character in plain)
