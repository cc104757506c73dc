"""Loss on documents the model has not trained on.

Shapes: B windows, T context tokens, N flattened tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ropewalk.model.loss import bits_per_byte
from ropewalk.model.transformer import Transformer
from ropewalk.tokenizer.shards import TokenReader


@dataclass(frozen=True)
class DocumentLoss:
    """One document's loss, its end not counted: total nats, and the tokens and bytes they are spread over."""

    row: int
    nats: float
    tokens: int
    text_bytes: int


def total_bits_per_byte(losses: list[DocumentLoss]) -> float:
    """Bits per byte over all these documents together."""
    return bits_per_byte(sum(loss.nats for loss in losses), sum(loss.text_bytes for loss in losses))


def document_losses(
    model: Transformer,
    reader: TokenReader,
    rows: np.ndarray,
    token_bytes: np.ndarray,
    *,
    context_tokens: int,
    stride_tokens: int,
    windows_at_once: int = 16,
    pad_to_context: bool = False,
) -> Iterator[DocumentLoss]:
    """The loss of each document in `rows` of the index, read by itself from its start.

    A document longer than the context is read in windows that advance by `stride_tokens`; each token is scored once, by
    the first window that reaches it, so it has at least `context_tokens - stride_tokens` tokens before it.

    pad_to_context: give the model one shape of input only, which a compiled one wants.
    """
    nats, counts = np.zeros(len(rows)), np.zeros(len(rows), np.int64)
    text_bytes = np.zeros(len(rows), np.int64)
    windows = list(_windows(reader, rows, context_tokens, stride_tokens))
    for start in range(0, len(windows), windows_at_once):
        some = windows[start : start + windows_at_once]
        length = context_tokens if pad_to_context else max(len(window.ids) for window in some) - 1
        height = windows_at_once if pad_to_context else len(some)
        ids_BT = torch.zeros(height, length, dtype=torch.long)
        targets_BT = torch.zeros(height, length, dtype=torch.long)
        for index, window in enumerate(some):
            ids_BT[index, : len(window.ids) - 1] = torch.from_numpy(window.ids[:-1])
            targets_BT[index, : len(window.ids) - 1] = torch.from_numpy(window.ids[1:])
        device = model.lm_head.weight.device
        with torch.no_grad():
            hidden_ND = model(ids_BT.to(device)).flatten(0, 1)
            targets_N = targets_BT.flatten().to(device)
            _, losses_N = model.loss(hidden_ND, targets_N, torch.ones(len(targets_N), device=device))
        losses_BT = losses_N.view(height, length).double().cpu().numpy()
        for index, window in enumerate(some):
            scored = slice(window.scored_from, len(window.ids) - 1)
            nats[window.document] += losses_BT[index, scored].sum()
            counts[window.document] += scored.stop - scored.start
            text_bytes[window.document] += token_bytes[window.ids[1:][scored]].sum()
    for index, row in enumerate(rows):
        yield DocumentLoss(int(row), float(nats[index]), int(counts[index]), int(text_bytes[index]))


@dataclass(frozen=True)
class _Window:
    document: int
    ids: np.ndarray
    scored_from: int


def _windows(reader: TokenReader, rows: np.ndarray, context_tokens: int, stride_tokens: int) -> Iterator[_Window]:
    for document, row in enumerate(rows):
        entry = reader.documents[row]
        ids = reader.read(int(entry["first_token"]), int(entry["tokens"])).astype(np.int64)
        start = scored = 0
        while scored < len(ids) - 1:
            window = ids[start : start + context_tokens + 1]
            yield _Window(document, window, scored - start)
            scored = start + len(window) - 1
            start += stride_tokens


def held_out_rows(reader: TokenReader) -> np.ndarray:
    """Rows of the document index that are held out."""
    return np.flatnonzero(reader.documents["held_out"] == 1)
