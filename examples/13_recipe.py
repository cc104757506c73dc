"""cli: the same line as a recipe, looked at before it is made; and what an artifact says of itself."""

import sys
from pathlib import Path

import ropewalk

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
recipe = folder / "recipe.toml"
recipe.write_text(
    f"""
into = "{folder}"
[tokenizer]
stage = "tokenizer"
corpus = "{folder / "corpus"}"
vocabulary = 600
[tokens]
stage = "tokenize"
corpus = "{folder / "corpus"}"
tokenizer = "tokenizer"
""",
    encoding="utf-8",
)
ropewalk.api.run(recipe, dry_run=True)
ropewalk.api.show(folder / "tokens")
ropewalk.api.verify((folder / "tokens",))
ropewalk.api.lineage((folder / "tokens",))
