"""The smallest line from an Atlas to a model that can be run anew: it learns nothing to speak of, but its pages are real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ropewalk.serve.lab import Lab

RECIPE = """
into = "{into}"

[site]
stage = "atlas"
pages_per_country = 1
copied_fraction = 0.0
junk_pages = 0
python_pages = 0
conversations = 20
tasks = 5

[corpus]
stage = "corpus"
pages = "site/web"
rules = "none"
languages = []
language_threshold = 0.0
near_duplicates = false
held_out_fraction = 0.0
workers = 1

[tokenizer]
stage = "tokenizer"
corpus = "corpus"
vocabulary = 300

[tokens]
stage = "tokenize"
corpus = "corpus"
tokenizer = "tokenizer"
workers = 1

[model]
stage = "pretrain"
tokens = "tokens"
tokenizer = "tokenizer"
depth = 1
width = 32
head_width = 32
context_tokens = 64
batch_rows = 2
train_tokens = 2_000
compile = "off"

[index]
stage = "index"
corpus = "corpus"
tokens = "tokens"
"""


def make_first(home: Path) -> Path:
    """Run the recipe in `home`: recipe.toml, and the artifacts in `first`. Half a minute of one core."""
    (home / "recipe.toml").write_text(RECIPE.format(into=home / "first"))
    subprocess.run([sys.executable, "-m", "ropewalk", "run", str(home / "recipe.toml")], check=True, capture_output=True)
    return home / "first"


def lab_of(home: Path) -> Lab:
    first = home / "first"
    return Lab(home / "lab", home / "recipe.toml", model=first / "model", index=first / "index")
