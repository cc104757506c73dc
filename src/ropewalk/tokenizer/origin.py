"""Which tokenizer made some tokens."""

from __future__ import annotations

from ropewalk.artifact import Artifact
from ropewalk.artifact.manifest import digest_of
from ropewalk.tokenizer.files import TOKENIZER_FILES

FACT = "tokenizer_digest"  # of a tokens artifact


def tokenizer_digest(holder: Artifact) -> str:
    """What the tokenizer is that a tokenizer artifact is, or that lies in a model's folder: a hash of its files."""
    files = holder.manifest["files"]
    return digest_of({name: files[name] for name in TOKENIZER_FILES if name in files})


def made_with(tokens: Artifact, holder: Artifact) -> bool:
    """Whether a tokenizer, or the one in a model's folder, made these tokens."""
    # Tokens from before 2026-11-26 lack the fact, and were made with a tokenizer artifact, whose digest is that hash.
    made_by = tokens.facts.get(FACT) or tokens.inputs["tokenizer"]["digest"]
    return made_by == tokenizer_digest(holder)
