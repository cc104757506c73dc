"""evaluate: bits per byte on documents that the model never read, beside two baselines, and all of it on one page."""

import json
import sys
from pathlib import Path

import ropewalk

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
evaluation = ropewalk.api.eval(
    folder / "evaluation",
    model=folder / "base",
    tokens=folder / "tokens",
    corpus=folder / "corpus",
    prompts=("The value of",),
    sample_tokens=20,
)
for name, value in evaluation.facts["bits_per_byte"].items():
    print(f"{name:<20}{value:.3f} bits per byte")
report = ropewalk.api.report(folder / "report", evaluation=evaluation.path)
print("open", report.path / "index.html")
figures = json.loads((evaluation.path / "evaluation.json").read_text(encoding="utf-8"))
print("a sample, unedited:", repr(figures["samples"][0]["text"]))
