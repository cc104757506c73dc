"""Cut the lines that stand in many documents: menus, notices, "last updated" and other furniture of a site.

None of them is left, the first no more than the others: it tells its document as little. A line is compared without the
spaces around it; a line without a letter or a digit (an empty one, a bracket, a ruler) stays.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ropewalk.corpus.spill import Spill
from ropewalk.corpus.texts import Texts

LINE_BYTES = 40


def frequent_lines(texts: Texts, folder: Path, *, max_documents: int, text_bytes: int) -> np.ndarray:
    """The hashes, ascending, of the lines that stand in more than `max_documents` documents.

    Memory: 8 bytes for each of them, of which there are at most the lines of the corpus / `max_documents`. Disk: 16 bytes
    a line.
    """
    spill = Spill(folder, lanes=1, expected=text_bytes // LINE_BYTES)
    for _, text in texts.read():
        found = np.unique(np.fromiter(map(_line_hash, text.split("\n")), dtype=np.uint64))
        spill.add(found[found > 0], np.ones(np.count_nonzero(found), dtype=np.uint64))
    frequent = [keys[totals > max_documents] for keys, totals in spill.totals()]
    return np.sort(np.concatenate([np.zeros(0, dtype=np.uint64), *frequent]))


def line_cutter(frequent: np.ndarray) -> Callable[[int, str], str]:
    """An edit for `Texts.rewrite`. Where lines go, of three and more line ends in a row two are left."""

    def edit(_: int, text: str) -> str:
        lines = text.split("\n")
        found = np.fromiter(map(_line_hash, lines), dtype=np.uint64)
        place = np.minimum(np.searchsorted(frequent, found), len(frequent) - 1)
        cut = frequent[place] == found
        if not cut.any():
            return text
        left = "\n".join(line for line, gone in zip(lines, cut, strict=True) if not gone)
        return re.sub(r"\n{3,}", "\n\n", left).strip() if re.search(r"\w", left) else ""

    return edit if len(frequent) else lambda _, text: text


def _line_hash(line: str) -> int:
    """0 for a line that is never cut."""
    bare = line.strip()
    if not any(map(str.isalnum, bare)):
        return 0
    return int.from_bytes(hashlib.blake2b(bare.encode(errors="surrogatepass"), digest_size=8).digest(), "little")
