"""atlas: a web of real facts to try the line on, with the truth about each page beside it."""

import json
import sys
from pathlib import Path

import ropewalk

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
site = ropewalk.api.atlas(
    folder / "site", pages_per_country=1, junk_pages=3, python_pages=4, conversations=100, tasks=20, copied_fraction=0.02
)
print(f"{site.facts['pages']} pages in {site.path / 'web'}, by kind: {site.facts['kinds']}")
with (site.path / "questions.jsonl").open(encoding="utf-8") as lines:
    question = json.loads(next(lines))
print("a question of the examination:", question["messages"][-1]["content"])
print("what counts as right:", question["accept"])
