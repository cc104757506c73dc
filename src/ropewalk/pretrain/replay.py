"""Which pages a model had read, replayed from its manifest: the reading order is a function, not a log."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ropewalk.artifact import Artifact, open_artifact, open_input
from ropewalk.corpus.reading import read_documents
from ropewalk.runtime.errors import OptionError
from ropewalk.tokenizer.order import MixedOrder, ReadingOrder, reading_order
from ropewalk.tokenizer.shards import TokenReader


def pages_read(model: Path, step: int | None) -> Iterator[tuple[str, str]]:
    """The pages read in the first `step` steps of pretraining, in order: (page_id, URL).

    A model that was trained further from another is followed back to the one that read pages.

    Raises:
        OptionError: the model was not trained here, or not for that many steps.
        ArtifactError: its tokens or corpus are gone or not those it was trained on.
    """
    run = _replayed(model)
    steps = run.steps if step is None else step
    if not 0 <= steps <= run.steps:
        raise OptionError(f"{model} was trained for {run.steps} steps: give a step from 0 to that")
    urls = {}
    if "corpus" in run.tokens.inputs:
        corpus = open_input(run.tokens, "corpus")
        for batch in read_documents(corpus.path, columns=("page_id", "url")):
            urls.update(zip(batch["page_id"].to_pylist(), batch["url"].to_pylist(), strict=True))
    for row in run.order.documents_read(steps):
        page_id = bytes(run.reader.documents[row]["page_id"]).hex()
        yield page_id, urls.get(page_id, "")


def first_read(model: Path, page_ids: Collection[str]) -> int | None:
    """The fewest steps of pretraining after which the model had read one of these pages; None if it never did.

    Raises: as `pages_read`.
    """
    run = _replayed(model)
    steps = [run.order.first_step(row, run.steps) for row in run.reader.rows_of(page_ids)]
    return min((step for step in steps if step is not None), default=None)


@dataclass(frozen=True)
class _Replayed:
    """A run of pretraining as its manifest describes it."""

    steps: int
    tokens: Artifact
    reader: TokenReader
    order: ReadingOrder | MixedOrder


def _replayed(model: Path) -> _Replayed:
    trained = pretrained(open_artifact(model, "model"))
    if "tokens" not in trained.inputs:
        raise OptionError(f"{model} was not trained here, so what it has read is not known: give a model of your own pages")
    tokens = open_input(trained, "tokens")
    options = trained.options
    reader = TokenReader(tokens.path)
    mixed = "conversations" in trained.inputs
    order = reading_order(
        reader,
        TokenReader(open_input(trained, "conversations").path) if mixed else None,
        fraction=options["conversation_fraction"] if mixed else 0.0,  # models from before it existed lack the option
        seed=options["seed"],
        rows=options["batch_rows"],
        context_tokens=options["context_tokens"],
    )
    return _Replayed(trained.facts["steps"], tokens, reader, order)


def pretrained(model: Artifact) -> Artifact:
    """The model that this one began from, at the start of the chain: itself, unless it was trained from another.

    Raises:
        ArtifactError: one of the chain is gone, or has been rebuilt since.
    """
    while "model" in model.inputs:
        model = open_input(model, "model")
    return model
