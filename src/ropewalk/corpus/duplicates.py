"""What documents that say the same have in common: a hash of the normalised text, or a band of MinHashes (Broder 1997).

Signatures are rensa's over hashed runs of five words; bands and their sizes follow FineWeb (Penedo et al. 2024).
Everything is hashed with fixed functions, so that signatures made on two machines can be compared.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

import numpy as np
from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]

from ropewalk.corpus.hashes import WORDS_VERSION, hash_runs, word_hashes

SHINGLE_WORDS = 5
SEED = 1
MINHASH_VERSION = f"rensa-{RMinHash.ALGORITHM_VERSION}/{WORDS_VERSION}-5-words-2"
_COMMON_CRAWL = re.compile(r"CC-MAIN-\d{4}-\d{2}")


def text_hash(text: str, *, within: str = "") -> str:
    """sha256 of the text with its case, its spaces and its Unicode spelling normalised.

    Args:
        within: a name before it; texts under different names are never equal.
    """
    normal = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.sha256((f"{within}\n{normal}" if within else normal).encode()).hexdigest()


def band_hashes(text: str, *, bands: int, band_hashes: int, within: str = "") -> list[int]:
    """One number per band: two texts that share most runs of five words agree in at least one.

    Args:
        within: texts under different names never agree.
    """
    shingles = hash_runs(word_hashes(text), length=SHINGLE_WORDS)
    offsets = np.array([0, len(shingles)], dtype=np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(shingles, offsets, bands * band_hashes, SEED)
    signature = np.array(matrix.to_rows()[0], dtype="<u4").tobytes()
    size, name = 4 * band_hashes, within.encode()
    cut = (signature[start : start + size] + name for start in range(0, len(signature), size))
    return [int.from_bytes(hashlib.blake2b(band, digest_size=8).digest(), "little") for band in cut]


def dump_of(file: str) -> str:
    """The dump that a file of pages belongs to, by its path below the folder that was given.

    The folder or file that bears the name of one of Common Crawl's crawls, such as CC-MAIN-2024-10; the first folder of the
    path where there is none; "" for a file that lies in no folder.
    """
    named = _COMMON_CRAWL.search(file)
    return named[0] if named else file.rpartition("/")[0].partition("/")[0]
