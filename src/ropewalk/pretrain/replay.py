"""Which pages a model had read, replayed from its manifest: the reading order is a function, not a log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ropewalk.artifact import open_artifact, open_input
from ropewalk.corpus.reading import read_documents
from ropewalk.runtime.errors import OptionError
from ropewalk.tokenizer.order import ReadingOrder
from ropewalk.tokenizer.shards import TokenReader


def pages_read(model: Path, step: int) -> Iterator[tuple[str, str]]:
    """The pages read in the first `step` steps, in order: (page_id, URL).

    Raises:
        OptionError: the model was not trained for that many steps.
        ArtifactError: its tokens or corpus are gone or not those it was trained on.
    """
    trained = open_artifact(model, "model")
    if not 0 <= step <= trained.facts["steps"]:
        raise OptionError(f"{model} was trained for {trained.facts['steps']} steps: give a step from 0 to that")
    tokens = open_input(trained, "tokens")
    options = trained.options
    order = ReadingOrder(
        TokenReader(tokens.path), seed=options["seed"], rows=options["batch_rows"], context_tokens=options["context_tokens"]
    )
    urls = {}
    if "corpus" in tokens.inputs:
        corpus = open_input(tokens, "corpus")
        for batch in read_documents(corpus.path, columns=("page_id", "url")):
            urls.update(zip(batch["page_id"].to_pylist(), batch["url"].to_pylist(), strict=True))
    for row in order.documents_read(step):
        page_id = bytes(order.reader.documents[row]["page_id"]).hex()
        yield page_id, urls.get(page_id, "")
