"""Follow an answer back: the passages that occur in the training pages, and the sentences there that hold its words."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Protocol

from ropewalk.evaluate.questions import refuses
from ropewalk.trace.index import Evidence, Index, PageSpan
from ropewalk.trace.sentences import sentences
from ropewalk.trace.words import query


class Traced(Protocol):
    """A model whose answers are followed: its name, and the index of what it was trained on, or why there is none."""

    @property
    def id(self) -> str: ...
    @property
    def index(self) -> Index | None: ...
    @property
    def untraceable(self) -> str: ...


def trace_answer(model: Traced, text: str, about: str) -> dict[str, Any]:
    """The body of a response of /v1/trace; positions count characters (Unicode code points).

    about: the question that `text` answers; a sentence that supports a lone sentence of an answer holds its names too.

    spans: passages that stand in the pages word for word. sentences: those of `text` that hold names, numbers or nouns, each
    with its evidence. unsupported: one of them has none. An answer that says it does not know claims nothing.
    """
    found: dict[str, Any] = {"object": "trace", "model": model.id, "available": model.index is not None}
    if model.index is None:
        return found | {"reason": model.untraceable, "spans": [], "sentences": [], "unsupported": None}
    spans = [asdict(span) | {"pages": list(map(_with_link, span.pages))} for span in model.index.spans(text)]
    checked = [] if refuses(text) else _checked(model.index, text, about)
    unsupported = any(not sentence["evidence"] for sentence in checked)
    return found | {"reason": None, "spans": spans, "sentences": checked, "unsupported": unsupported}


def _checked(index: Index, text: str, about: str) -> list[dict[str, Any]]:
    places = list(sentences(text))
    about = about if len(places) == 1 else ""  # of several sentences each need not be about all that was asked
    return [
        {"start": start, "end": end, "evidence": list(map(_with_link, index.evidence(text[start:end], about=about)))}
        for start, end in places
        if query(text[start:end]) is not None
    ]


def _with_link(place: PageSpan | Evidence) -> dict[str, Any]:
    """A place in a page, with the address at which this server shows it."""
    return asdict(place) | {"href": f"/pages/{place.page_id}?start={place.start}&end={place.end}#highlight"}
