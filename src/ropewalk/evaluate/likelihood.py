"""How probable a model holds continuations behind their contexts: what multiple choice by likelihood is made of.

Where a context and its continuation are cut, in tokens, is lm-evaluation-harness's way (0.4.13, `TemplateLM._encode_pair`
and `HFLM._loglikelihood_tokens`), so that scores compare. How they are read is not: what an item's pairs begin with is read
once, items of like lengths are packed into rows without padding between them, and the head reads continuations alone.

Shapes: B rows, T time, N tokens of continuations, V vocabulary, D model width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ropewalk.model.rows import states_and_targets
from ropewalk.model.sequences import Answered, Document, documents, packed
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.encoding import Tokenizer

PASS_TOKENS = 2048  # most ids in one forward pass, but for a document that is longer
GPU_PASS_TOKENS = 16_384
HEAD_TOKENS = 256  # whose logits are held at once: 50 MB of SmolLM2's


@dataclass(frozen=True)
class Likelihood:
    """A continuation's log-probability in nats, whether each of its tokens is the most probable one, and how many it has."""

    nats: float
    greedy: bool
    tokens: int


def cut(
    tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]], *, opening: Sequence[int], without_context: int
) -> list[Answered]:
    """Contexts and their continuations as ids, of which the continuation's are judged.

    Both are encoded together and parted where the context by itself ends; white space at its end goes to the continuation,
    because a model has read most spaces as the beginning of a word.

    Args:
        opening: ids that stand before every context.
        without_context: the id that a continuation stands behind if there is nothing else before it.

    Raises:
        InputError: a continuation that has no token of its own.
    """
    heads: dict[str, int] = {}
    found = []
    for context, continuation in pairs:
        head = context.rstrip()
        if head not in heads:
            heads[head] = len(tokenizer.encode(head))
        ids = tokenizer.encode(context + continuation)
        before = [*opening, *ids[: heads[head]]] or [without_context]
        found.append(answer_behind(before, ids[heads[head] :], said=continuation))
    return found


def answer_behind(before: Sequence[int], ids: Sequence[int], *, said: str) -> Answered:
    """Ids with others before them. Raises InputError where there are none; `said` names them."""
    if not ids:
        raise InputError(f"the continuation {said[:60]!r} adds no token to its context: there is nothing to judge")
    whole = np.array([*before, *ids], np.int64)
    return Answered(whole, np.arange(len(whole)) >= len(before))


def within(one: Answered, context_tokens: int) -> Answered:
    """As much of the end as a model reads. Raises InputError where that is not the whole continuation."""
    if one.tokens > context_tokens:
        raise InputError(f"a continuation has {one.tokens} tokens, this model reads {context_tokens}: leave its item out")
    most = context_tokens + 1  # the last id is judged, and never read
    return Answered(one.ids[-most:], one.learned[-most:])


def likelihoods(model: Transformer, items: Sequence[Sequence[Answered]]) -> list[list[Likelihood]]:
    """Judge every continuation of every item, which must fit into the model's context.

    Memory does not grow with the number of items, but for what is returned. The same items give the same bits; in other
    company the last digits differ.
    """
    whose = [number for number, item in enumerate(items) for _ in item]
    sequences = [one for item in items for one in item]
    nats, greedy = np.zeros(len(sequences)), np.ones(len(sequences), np.bool_)
    for places in _passes(documents(sequences, whose), model.lm_head.weight.device):
        owners, nats_N, best_N = _read(model, [sequences[place] for place in places], [whose[place] for place in places])
        owners = np.array(places)[owners]
        np.add.at(nats, owners, nats_N)
        np.logical_and.at(greedy, owners, best_N)
    judged: list[list[Likelihood]] = [[] for _ in items]
    for place, one in enumerate(sequences):
        judged[whose[place]].append(Likelihood(float(nats[place]), bool(greedy[place]), one.tokens))
    return judged


def _passes(found: Sequence[Document], device: torch.device) -> Iterator[list[int]]:
    """The places of what is read together, the longest first: memory is at its most at once."""
    most = GPU_PASS_TOKENS if device.type == "cuda" else PASS_TOKENS
    places, tokens = list[int](), 0
    for document in sorted(found, key=lambda document: -document.tokens):
        if places and tokens + document.tokens > most:
            yield places
            places, tokens = [], 0
        places = [*places, *document.places]
        tokens += document.tokens
    if places:
        yield places


@torch.inference_mode()
def _read(
    model: Transformer, sequences: Sequence[Answered], whose: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each judged token its sequence's place, its log-probability, and whether none is more probable, (N,) each."""
    rows, owners = packed(sequences, whose)
    hidden_ND, targets_N = states_and_targets(model, rows)
    chunks = [
        _judge(model.logits(hidden_ND[start : start + HEAD_TOKENS]), targets_N[start : start + HEAD_TOKENS])
        for start in range(0, len(targets_N), HEAD_TOKENS)
    ]
    nats_N, best_N = (torch.cat(parts).cpu().numpy() for parts in zip(*chunks, strict=True))
    return owners, nats_N.astype(np.float64), best_N


def _judge(logits_NV: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    nats_N = logits_NV.gather(1, targets_N[:, None])[:, 0] - logits_NV.logsumexp(dim=1)
    return nats_N, logits_NV.argmax(dim=1) == targets_N
