"""How a vocabulary does on text it has not seen, beside those that everyone knows, and which of its tokens are no use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ropewalk.corpus.reading import read_documents
from ropewalk.crawl.urls import site_host
from ropewalk.runtime.progress import progress
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.known import installed

OURS = "this one"
KINDS = ("all", "language", "site")
MOST_GROUPS = 12
MOST_TRAIN_BYTES = 50_000_000  # to see which tokens are used
RARELY = 10  # times or fewer
MOST_SHOWN = 20
UNSPACED = frozenset({"zh", "ja", "th", "lo", "km", "my", "bo"})  # between whose words no spaces stand


def compare(tokenizer: Tokenizer, corpus: Path) -> dict[str, Any]:
    """The figures, as JSON values.

    vocabularies: how many tokens each has. groups: for each of KINDS rows of name, documents, bytes, and of each vocabulary
    bytes_per_token, tokens_per_word (words are runs between spaces; None in scripts without any) and single_bytes, the share
    of tokens that are one byte of a longer character. use: of the train split, or a part of it, the tokens that are
    never seen and RARELY; a model has nothing to learn them from (Land & Bartolo 2024). longest: tokens by their length.
    """
    tokenizers = {OURS: tokenizer, **installed()}
    parts = {title: _is_part(one) for title, one in tokenizers.items()}
    sums: dict[tuple[str, str], np.ndarray] = {}
    with progress("tokenizer: comparing", total=None, unit="documents") as bar, ThreadPoolExecutor() as pool:
        for batch in read_documents(corpus, columns=("text", "url", "language"), split="held_out"):
            counts = _counts(batch.column("text").to_pylist(), tokenizers, parts, pool)
            for key, rows in _groups(batch):
                sums[key] = sums.get(key, 0) + counts[rows].sum(axis=0)
            bar.advance(batch.num_rows)
        use = _use(tokenizer, corpus, pool)
    longest = np.argsort(-tokenizer.bytes_per_token, kind="stable")[:MOST_SHOWN]
    return {
        "vocabularies": {title: one.vocabulary for title, one in tokenizers.items()},
        "groups": {kind: _rows(kind, sums, list(tokenizers)) for kind in KINDS},
        "use": use,
        "longest": [shown(tokenizer, index) for index in longest.tolist()],
    }


def shown(tokenizer: Tokenizer, index: int) -> str:
    """A token as text; bytes that are no character by themselves as \\xe2 and the like."""
    return tokenizer.token(index).decode("utf-8", "backslashreplace")


def _counts(
    texts: Sequence[str], tokenizers: Mapping[str, Tokenizer], parts: Mapping[str, np.ndarray], pool: Executor
) -> np.ndarray:
    """A row per text: 1, its bytes, its words, then of each tokenizer its tokens and those of a part of a character."""
    columns = [np.ones(len(texts), np.int64), np.array([len(text.encode()) for text in texts])]
    columns.append(np.array([len(text.split()) for text in texts]))
    for title, tokenizer in tokenizers.items():
        ids, offsets = tokenizer.encode_batch(texts, pool=pool)
        before = np.concatenate([[0], np.cumsum(parts[title][ids])])
        columns += [np.diff(offsets), np.diff(before[offsets])]
    return np.stack(columns, axis=1)


def _is_part(tokenizer: Tokenizer) -> np.ndarray:
    """Which tokens are one byte of a longer character, by id."""
    parts = [len(token := tokenizer.token(index)) == 1 and token[0] >= 0x80 for index in range(tokenizer.vocabulary)]
    return np.array(parts, dtype=np.int64)


def _groups(batch: pa.RecordBatch) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    """(kind, name) of each group that has documents in the batch, with their rows."""
    sites = list(map(site_host, batch.column("url").to_pylist()))
    yield ("all", "all"), np.arange(batch.num_rows)
    for kind, names in (("language", batch.column("language").to_pylist()), ("site", sites)):
        for name in sorted(set(names)):
            yield (kind, name), np.flatnonzero(np.array(names) == name)


def _rows(kind: str, sums: Mapping[tuple[str, str], np.ndarray], titles: Sequence[str]) -> list[dict[str, Any]]:
    """The largest groups of a kind as rows of the table."""
    found = {name: counts.tolist() for (of, name), counts in sums.items() if of == kind}
    largest = sorted(found, key=lambda name: (-found[name][1], name))[:MOST_GROUPS]
    return [_row(name, kind == "language" and name in UNSPACED, found[name], titles) for name in largest]


def _row(name: str, unspaced: bool, counts: list[int], titles: Sequence[str]) -> dict[str, Any]:
    documents, size, words, *both = counts
    tokens, parts = dict(zip(titles, both[::2], strict=True)), dict(zip(titles, both[1::2], strict=True))
    return {
        "name": name,
        "documents": documents,
        "bytes": size,
        "bytes_per_token": {title: round(size / count, 3) if count else None for title, count in tokens.items()},
        "tokens_per_word": {
            title: round(count / words, 3) if words and not unspaced else None for title, count in tokens.items()
        },
        "single_bytes": {title: round(parts[title] / count, 4) if count else None for title, count in tokens.items()},
    }


def _use(tokenizer: Tokenizer, corpus: Path, pool: Executor) -> dict[str, Any]:
    """How often the tokens are seen in the train split, of a large one at its beginning."""
    seen, size = np.zeros(tokenizer.vocabulary, np.int64), 0
    for batch in read_documents(corpus, columns=("text",), split="train"):
        ids, _ = tokenizer.encode_batch(batch.column("text").to_pylist(), pool=pool)
        seen += np.bincount(ids, minlength=len(seen))
        size += int(tokenizer.bytes_per_token[ids].sum())
        if size >= MOST_TRAIN_BYTES:
            break
    merged = tokenizer.bytes_per_token > 1  # single bytes are there for what no page has
    found = {"never": np.flatnonzero(merged & (seen == 0)), "rarely": np.flatnonzero(merged & (seen > 0) & (seen <= RARELY))}
    examples = {name: some[np.argsort(seen[some], kind="stable")][:MOST_SHOWN].tolist() for name, some in found.items()}
    return {
        "bytes": size,
        "rarely_means": RARELY,
        **{
            name: {"tokens": len(some), "first": [shown(tokenizer, i) for i in examples[name]]}
            for name, some in found.items()
        },
    }


def print_comparison(folder: Path, corpus: Path) -> None:
    """Print the figures of the tokenizer in `folder`."""
    found = compare(Tokenizer.load(folder), corpus)
    titles = list(found["vocabularies"])
    print(f"{'bytes per token (tokens per word)':<40}{'text':>10}" + "".join(f"{title:>16}" for title in titles))
    print(f"{'  tokens in all':<50}" + "".join(f"{found['vocabularies'][title]:>16,}" for title in titles))
    for kind in KINDS:
        for row in found["groups"][kind]:
            figures = "".join(f"{_both(row, title):>16}" for title in titles)
            print(
                f"  {'' if kind == 'all' else kind + ' '}{row['name']}"[:40].ljust(40)
                + f"{row['bytes'] / 1e6:>7.2f} MB{figures}"
            )
    use = found["use"]
    print(f"of its tokens {use['never']['tokens']} never stand in {use['bytes'] / 1e6:.1f} MB of its own pages, ", end="")
    print(f"{use['rarely']['tokens']} up to {RARELY} times: {_quoted(use['rarely']['first'])}")
    print(f"longest: {_quoted(found['longest'])}")


def _both(row: Mapping[str, Any], title: str) -> str:
    size, words = row["bytes_per_token"][title], row["tokens_per_word"][title]
    return "" if size is None else f"{size:.2f}" + ("" if words is None else f" ({words:.2f})")


def _quoted(tokens: Sequence[str]) -> str:
    return " ".join(map(repr, tokens[:8])) or "none"
