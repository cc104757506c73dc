"""What a model is worth on held-out documents: bits per byte by site beside two baselines, and samples at fixed seeds."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np

from ropewalk.corpus.reading import read_documents
from ropewalk.engine.engine import Engine
from ropewalk.engine.generate import document_prompt
from ropewalk.engine.sampling import Sampling
from ropewalk.evaluate import EvalOptions
from ropewalk.evaluate.compression import primed_xz_bits_per_byte
from ropewalk.evaluate.ngram import NgramModel
from ropewalk.pretrain.held_out import DocumentLoss, document_losses, held_out_rows, total_bits_per_byte
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.progress import progress
from ropewalk.tokenizer.shards import TokenReader

SAMPLE_TEMPERATURE, SAMPLE_TOP_P = 0.7, 0.95


def language_figures(options: EvalOptions, engine: Engine) -> dict[str, Any]:
    """All that is measured on held-out documents, as JSON values.

    Raises:
        InputError: nothing is held out.
    """
    reader = TokenReader(options.tokens)
    rows = held_out_rows(reader)
    if len(rows) == 0:
        raise InputError(f"{options.tokens} holds out no document: make the corpus with a larger held_out_fraction")
    losses = _model_losses(engine, reader, rows)
    training = baseline_rows(reader, options.baseline_tokens)
    ngram = _ngram_losses(engine, reader, training, rows, options.ngram_order)
    return {
        "documents": len(rows),
        "bytes": sum(loss.text_bytes for loss in losses),
        "bits_per_byte": {
            "model": round(total_bits_per_byte(losses), 4),
            f"kneser_ney_{options.ngram_order}_gram": round(total_bits_per_byte(ngram), 4),
            "xz_primed": round(_xz(options, reader, training), 4),
        },
        "baseline_tokens": int(reader.documents["tokens"][training].sum(dtype=np.int64)),
        "perplexity_per_token": round(math.exp(sum(x.nats for x in losses) / sum(x.tokens for x in losses)), 3),
        "bits_per_byte_by_site": _by_site(options, reader, losses, ngram),
        "samples": _samples(engine, options),
    }


def _model_losses(engine: Engine, reader: TokenReader, rows: np.ndarray) -> list[DocumentLoss]:
    context = engine.model.config.context_tokens
    losses = []
    with progress("model on held-out documents", total=len(rows), unit="documents") as bar:
        for start in range(0, len(rows), 16):
            losses += document_losses(
                engine.model,
                reader,
                rows[start : start + 16],
                engine.tokenizer.bytes_per_token,
                context_tokens=context,
                stride_tokens=context // 2,
            )
            bar.advance(len(rows[start : start + 16]))
    return losses


def baseline_rows(reader: TokenReader, limit_tokens: int) -> np.ndarray:
    """The training documents that the baselines read, in stored order: those of smallest page_id, within the limit.

    At least one, however long.
    """
    train = np.flatnonzero(reader.documents["held_out"] == 0)
    if reader.documents["tokens"][train].sum(dtype=np.int64) <= limit_tokens:
        return train
    by_page = train[np.argsort([bytes(page_id) for page_id in reader.documents["page_id"][train]], kind="stable")]
    count = np.searchsorted(np.cumsum(reader.documents["tokens"][by_page], dtype=np.int64), limit_tokens, side="right")
    return np.sort(by_page[: max(1, int(count))])


def _ngram_losses(
    engine: Engine, reader: TokenReader, training: np.ndarray, rows: np.ndarray, order: int
) -> list[DocumentLoss]:
    """The same documents under the n-gram baseline."""
    known = np.concatenate([_document(reader, row) for row in training.tolist()])
    model = NgramModel(known, order=order, vocabulary=engine.tokenizer.vocabulary)
    losses = []
    for row in rows:
        document = _document(reader, row)
        nats = -float(model.log_probabilities(document).sum())
        text_bytes = int(engine.tokenizer.bytes_per_token[document].sum())
        losses.append(DocumentLoss(int(row), nats, len(document) - 1, text_bytes))
    return losses


def _document(reader: TokenReader, row: int) -> np.ndarray:
    entry = reader.documents[row]
    return reader.read(int(entry["first_token"]), int(entry["tokens"]))


def _xz(options: EvalOptions, reader: TokenReader, training: np.ndarray) -> float:
    wanted = {bytes(page_id).hex() for page_id in reader.documents["page_id"][training]}
    texts: dict[str, list[str]] = {"train": [], "held_out": []}
    for batch in read_documents(options.corpus, columns=("text", "split", "page_id")):
        rows = zip(*(batch[name].to_pylist() for name in ("text", "split", "page_id")), strict=True)
        for text, split, page_id in rows:
            if split == "held_out" or page_id in wanted:
                texts[split].append(text)
    known, held_out = ("\n".join(texts[split]).encode() for split in ("train", "held_out"))
    return primed_xz_bits_per_byte(known, held_out)


def _by_site(
    options: EvalOptions, reader: TokenReader, losses: list[DocumentLoss], ngram: list[DocumentLoss]
) -> dict[str, dict[str, float]]:
    """Bits per byte by host and first folder of the URL, the largest sites first."""
    sites = {}
    for batch in read_documents(options.corpus, columns=("page_id", "url"), split="held_out"):
        for page_id, url in zip(batch["page_id"].to_pylist(), batch["url"].to_pylist(), strict=True):
            sites[page_id] = site_of(url)
    grouped: dict[str, list[tuple[DocumentLoss, DocumentLoss]]] = defaultdict(list)
    for loss, baseline in zip(losses, ngram, strict=True):
        page_id = bytes(reader.documents[loss.row]["page_id"]).hex()
        grouped[sites[page_id]].append((loss, baseline))
    table = {}
    for site, pairs in grouped.items():
        table[site] = {
            "documents": len(pairs),
            "bytes": sum(loss.text_bytes for loss, _ in pairs),
            "model": round(total_bits_per_byte([loss for loss, _ in pairs]), 4),
            "ngram": round(total_bits_per_byte([baseline for _, baseline in pairs]), 4),
        }
    return dict(sorted(table.items(), key=lambda item: -item[1]["bytes"])[:30])


def site_of(url: str) -> str:
    """Host and first folder: how pages are grouped for people."""
    scheme, _, rest = url.rpartition("://")
    host, *folders = rest.split("/")
    return f"{host}/{folders[0]}" if scheme and len(folders) > 1 else host


def _samples(engine: Engine, options: EvalOptions) -> list[dict[str, Any]]:
    prompts, samplings, seeds = [], [], []
    for prompt in options.prompts:
        for seed in range(options.samples_per_prompt):
            prompts.append(prompt)
            seeds.append(seed)
            samplings.append(Sampling(options.sample_tokens, SAMPLE_TEMPERATURE, 0, SAMPLE_TOP_P, seed))
    generations = engine.generate([document_prompt(engine, prompt) for prompt in prompts], samplings)
    return [
        {"prompt": prompt, "seed": seed, "text": generation.text, "finish": generation.finish}
        for prompt, seed, generation in zip(prompts, seeds, generations, strict=True)
    ]
