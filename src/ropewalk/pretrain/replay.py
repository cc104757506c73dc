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

    A model that was trained further from another is followed back to the one that read pages; what was read before that one
    by a model that it went on from comes first.

    Raises:
        OptionError: the model was not trained here, or not for that many steps.
        ArtifactError: its tokens or corpus are gone or not those it was trained on.
    """
    run = _replayed(model)
    steps = run.steps if step is None else step
    if not 0 <= steps <= run.steps:
        raise OptionError(f"{model} was trained for {run.steps} steps: give a step from 0 to that")
    if "init" in run.model.inputs and "tokens" in pretrained(before := open_input(run.model, "init")).inputs:
        yield from pages_read(before.path, None)
    urls = {}
    for tokens in run.tokens:
        if "corpus" in tokens.inputs:
            for batch in read_documents(open_input(tokens, "corpus").path, columns=("page_id", "url")):
                urls.update(zip(batch["page_id"].to_pylist(), batch["url"].to_pylist(), strict=True))
    for _, page_id in run.order.pages_in_rows(steps * run.order.rows):
        if page_id not in run.conversations:
            yield page_id, urls.get(page_id, "")


def first_read(model: Path, page_ids: Collection[str]) -> int | None:
    """The fewest steps of pretraining after which the model had read one of these pages; None if it never did.

    What a model that it went on from had read is not counted.

    Raises: as `pages_read`.
    """
    run = _replayed(model)
    row = run.order.first_row_of(page_ids, run.steps * run.order.rows)
    return None if row is None else row // run.order.rows + 1


@dataclass(frozen=True)
class _Replayed:
    """A run of pretraining as its manifest describes it. conversations: the hashes of those among the pages."""

    model: Artifact
    steps: int
    tokens: tuple[Artifact, ...]
    order: ReadingOrder | MixedOrder
    conversations: frozenset[str]


def _replayed(model: Path) -> _Replayed:
    trained = pretrained(open_artifact(model, "model"))
    if "tokens" not in trained.inputs:
        raise OptionError(f"{model} was not trained here, so what it has read is not known: give a model of your own pages")
    options, facts = trained.options, trained.facts
    read = {name: open_input(trained, name) for name in ("tokens", "replay", "conversations") if name in trained.inputs}
    readers = {name: TokenReader(tokens.path) for name, tokens in read.items()}
    order = reading_order(
        readers["tokens"],
        (readers.get("replay"), options.get("replay_fraction", 0.0)),
        (readers.get("conversations"), options.get("conversation_fraction", 0.0)),
        seed=options["seed"],
        rows=facts.get("batch_rows") or options["batch_rows"],  # models from before 2026-11-26 lack these facts
        context_tokens=facts.get("row_tokens") or facts["shape"]["context_tokens"],
    )
    talk = readers["conversations"].documents["page_id"].tolist() if "conversations" in readers else []
    tokens = tuple(tokens for name, tokens in read.items() if name != "conversations")
    return _Replayed(trained, facts["steps"], tokens, order, frozenset(bytes(page_id).hex() for page_id in talk))


def pretrained(model: Artifact) -> Artifact:
    """The model that this one began from by reading pages: itself, unless it was trained further on something else.

    Raises:
        ArtifactError: one of the chain is gone, or has been rebuilt since.
    """
    while "model" in model.inputs:
        model = open_input(model, "model")
    return model
