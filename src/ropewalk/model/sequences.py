"""Texts of which only a part counts, an answer most often, laid out so that what several begin with is read once.

Shapes: N tokens that count.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from ropewalk.model.rows import Rows, Stretch, lay_out, pack

SCORES_OF_A_TOKEN = 1000  # attention scores that take as long as all else of a token: by operations 3,000 in SmolLM2


@dataclass(frozen=True)
class Answered:
    """Ids, and which of them are learned, or judged: those of a conversation's last answer, its end token among them."""

    ids: np.ndarray
    learned: np.ndarray

    @property
    def tokens(self) -> int:
        """How many ids are learned."""
        return int(self.learned.sum())

    @property
    def prompt(self) -> np.ndarray:
        """The ids before the first that is learned."""
        return self.ids[: int(self.learned.argmax())]


def packed(sequences: Sequence[Answered], kin: Sequence[Hashable] | None = None) -> tuple[Rows, np.ndarray]:
    """Rows with these in them, as short as the longest allows, and for each learned token whose it is (N,).

    kin: as for `documents`; by default those with the same prompt.
    """
    found = documents(sequences, [one.prompt.tobytes() for one in sequences] if kin is None else kin)
    laid_out = [_document([sequences[place] for place in group.places], group.shared_tokens) for group in found]
    lengths = [sum(one.inputs for one in document) for document in laid_out]
    rows = pack(lengths, max(lengths))
    places = [place for row in rows for item in row for place in found[item].places]
    shape = (len(rows), max(lengths))
    whose = np.repeat(places, [int(sequences[place].learned[1:].sum()) for place in places])
    return lay_out(rows, laid_out.__getitem__, shape=shape), whose


@dataclass(frozen=True)
class Document:
    """Sequences, by their places, that are read together.

    shared_tokens: how many ids they begin with that are read once. tokens: how many ids are read in all.
    """

    places: list[int]
    shared_tokens: int
    tokens: int


def documents(sequences: Sequence[Answered], kin: Sequence[Hashable]) -> list[Document]:
    """Put neighbours that begin alike into one document, as long as that is cheaper than to read them apart.

    Only those of the same `kin` are compared. Reading t ids costs t tokens and t^2 scores of attention, which are computed
    whether or not they are seen.
    """
    found: list[Document] = []
    for place, one in enumerate(sequences):
        alone = Document([place], len(one.prompt), len(one.ids))
        last = found[-1] if found else None
        if last is not None and kin[last.places[0]] == kin[place]:
            shared = _begin_alike(sequences[last.places[0]].ids[: last.shared_tokens], one.prompt)
            longer = (last.shared_tokens - shared) * (len(last.places) - 1)  # what was shared, and would be no more
            together = Document([*last.places, place], shared, last.tokens + longer + len(one.ids) - shared)
            if shared and _cost(together.tokens) < _cost(last.tokens) + _cost(alone.tokens):
                found[-1] = together
                continue
        found.append(alone)
    return found


def _cost(tokens: int) -> int:
    return tokens * (tokens + SCORES_OF_A_TOKEN)


def _begin_alike(ids: np.ndarray, others: np.ndarray) -> int:
    """How many ids two sequences have in common at their beginnings."""
    length = min(len(ids), len(others))
    differing = np.flatnonzero(ids[:length] != others[:length])
    return int(differing[0]) if len(differing) else length


def _document(group: Sequence[Answered], shared_tokens: int) -> list[Stretch]:
    """What all begin with, and how each goes on from its last id: what is read there has another target in each."""
    if len(group) == 1:
        return [Stretch(group[0].ids, group[0].learned)]
    last = shared_tokens - 1
    rest = [Stretch(one.ids[last:], one.learned[last:], last, number) for number, one in enumerate(group, start=1)]
    return [Stretch(group[0].ids[:shared_tokens], np.zeros(shared_tokens, np.bool_)), *rest]
