"""Which pages a model had read, replayed from its manifest: the reading order is a function, not a log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ropewalk.artifact import Artifact, open_artifact, open_input
from ropewalk.corpus.reading import read_documents
from ropewalk.runtime.errors import OptionError
from ropewalk.tokenizer.order import reading_order
from ropewalk.tokenizer.shards import TokenReader


def pages_read(model: Path, step: int | None) -> Iterator[tuple[str, str]]:
    """The pages read in the first `step` steps of pretraining, in order: (page_id, URL).

    A model that was trained further from another is followed back to the one that read pages.

    Raises:
        OptionError: the model was not trained here, or not for that many steps.
        ArtifactError: its tokens or corpus are gone or not those it was trained on.
    """
    trained = pretrained(open_artifact(model, "model"))
    if "tokens" not in trained.inputs:
        raise OptionError(f"{model} was not trained here, so what it has read is not known: give a model of your own pages")
    steps: int = trained.facts["steps"] if step is None else step
    if not 0 <= steps <= trained.facts["steps"]:
        raise OptionError(f"{model} was trained for {trained.facts['steps']} steps: give a step from 0 to that")
    tokens = open_input(trained, "tokens")
    options = trained.options
    reader = TokenReader(tokens.path)
    order = reading_order(
        reader,
        TokenReader(open_input(trained, "conversations").path) if "conversations" in trained.inputs else None,
        fraction=options["conversation_fraction"],
        seed=options["seed"],
        rows=options["batch_rows"],
        context_tokens=options["context_tokens"],
    )
    urls = {}
    if "corpus" in tokens.inputs:
        corpus = open_input(tokens, "corpus")
        for batch in read_documents(corpus.path, columns=("page_id", "url")):
            urls.update(zip(batch["page_id"].to_pylist(), batch["url"].to_pylist(), strict=True))
    for row in order.documents_read(steps):
        page_id = bytes(reader.documents[row]["page_id"]).hex()
        yield page_id, urls.get(page_id, "")


def pretrained(model: Artifact) -> Artifact:
    """The model that this one began from, at the start of the chain: itself, unless it was trained from another.

    Raises:
        ArtifactError: one of the chain is gone, or has been rebuilt since.
    """
    while "model" in model.inputs:
        model = open_input(model, "model")
    return model
