"""xz as a language model: how many bits the held-out text adds when the compressor has already seen the training text."""

from __future__ import annotations

import lzma
from concurrent.futures import ThreadPoolExecutor

from ropewalk.runtime.progress import progress


def primed_xz_bits_per_byte(training: bytes, held_out: bytes) -> float:
    """8 x (xz(training + held_out) - xz(training)) / len(held_out), at the strongest preset.

    The dictionary spans all of the training text (up to xz's own limit of 1.5 GiB), so every repeat of it can be found.
    Takes about eleven times the text in memory, for each of two passes at once.
    """
    window = max(1 << 16, 1 << (len(training) + len(held_out)).bit_length())
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": min(window, 1536 << 20)}]

    def compressed_bytes(data: bytes) -> int:
        return len(lzma.compress(data, format=lzma.FORMAT_XZ, check=lzma.CHECK_NONE, filters=filters))

    with progress("xz primed with the training text", total=2, unit="passes") as bar, ThreadPoolExecutor(2) as pool:
        sizes = []
        for size in pool.map(compressed_bytes, (training, training + held_out)):  # lzma leaves Python's lock
            sizes.append(size)
            bar.advance()
    return 8 * (sizes[1] - sizes[0]) / len(held_out)
