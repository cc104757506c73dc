"""Find documents that say the same: equal after normalising, or nearly equal by MinHash (Broder 1997).

Signatures are rensa's over hashed runs of five words; bands and their sizes follow FineWeb (Penedo et al. 2024).
Everything is hashed with fixed functions, so that signatures made on two machines can be compared.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import polars as pl
from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]

from ropewalk.corpus.words import split_words

SHINGLE_WORDS = 5
SEED = 1
MINHASH_VERSION = f"rensa-{RMinHash.ALGORITHM_VERSION}/blake2b-5-words-1"
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def text_hash(text: str) -> str:
    """sha256 of the text with its case, its spaces and its Unicode spelling normalised."""
    normal = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.sha256(normal.encode()).hexdigest()


def band_hashes(text: str, *, bands: int, band_hashes: int) -> list[int]:
    """One number per band: two texts that share most runs of five words agree in at least one."""
    shingles = word_runs(text, length=SHINGLE_WORDS)
    offsets = np.array([0, len(shingles)], dtype=np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(shingles, offsets, bands * band_hashes, SEED)
    signature = np.array(matrix.to_rows()[0], dtype="<u4").reshape(bands, band_hashes)
    return [int.from_bytes(hashlib.blake2b(band.tobytes(), digest_size=8).digest(), "little") for band in signature]


def word_runs(text: str, *, length: int) -> np.ndarray:
    """Distinct hashes of all runs of `length` words, lower case; of the whole text if it is shorter."""
    return np.unique(hash_runs(word_hashes(text), length=length))


def word_hashes(text: str) -> np.ndarray:
    """A hash for each word, lower case, in order."""
    words = split_words(text.lower())
    return np.fromiter(map(_word_hash, words), dtype=np.uint64, count=len(words))


def hash_runs(hashes: np.ndarray, *, length: int) -> np.ndarray:
    """A hash for each run of `length` words, in order; one for all of them if they are fewer."""
    size = min(length, len(hashes))
    runs = np.zeros(max(1, len(hashes) - size + 1), dtype=np.uint64)
    for offset in range(size):
        runs = runs * _MULTIPLIER + hashes[offset : offset + len(runs)]
        runs ^= runs >> np.uint64(29)
    return runs


@lru_cache(maxsize=200_000)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


def keepers(columns: Iterable[pl.Series]) -> np.ndarray:
    """For each document the first one of its cluster: itself, if it is that one.

    Two documents with the same value in any column are in one cluster, and so is whoever is linked through others.
    """
    columns = list(columns)
    return join_clusters(len(columns[0]), np.concatenate([_edges(column) for column in columns]))


def _edges(column: pl.Series) -> np.ndarray:
    """(first, other) for documents whose value an earlier one has too."""
    rows = pl.DataFrame({"value": column}).with_row_index("row").with_columns(first=pl.col("row").min().over("value"))
    linked = rows.filter(pl.col("first") < pl.col("row"))
    return linked.select("first", "row").to_numpy().astype(np.int64)


def join_clusters(count: int, edges: np.ndarray) -> np.ndarray:
    """The smallest member of each member's connected component: union-find over arrays, all edges at a time."""
    keeper = np.arange(count)
    while True:
        left, right = keeper[edges[:, 0]], keeper[edges[:, 1]]
        apart = left != right
        if not apart.any():
            return keeper
        low, high = np.minimum(left, right)[apart], np.maximum(left, right)[apart]
        np.minimum.at(keeper, high, low)
        while not np.array_equal(keeper, keeper[keeper]):
            keeper = keeper[keeper]
