"""Write the table of letters, numbers and spaces that text is split by, as tiktoken's own engine knows them.

    python scripts/unicode_classes.py > src/ropewalk/tokenizer/unicode_classes.txt

Frozen in a file, so that a tokenizer splits alike under every version of Python and of its libraries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import version

import tiktoken

CLASSES = {"L": r"\p{L}+", "N": r"\p{N}+", "S": r"\s+"}
SURROGATES = range(0xD800, 0xE000)


def main() -> None:
    print(
        f"# letters (L), numbers (N), spaces (S) of tiktoken {version('tiktoken')}: first and last code point, hexadecimal"
    )
    for name, pattern in CLASSES.items():
        for first, last in runs(sorted(map(ord, matched(pattern)))):
            print(f"{name} {first:X} {last:X}")


def matched(pattern: str) -> set[str]:
    """All characters that a pattern of one class matches: what it does not match, tiktoken drops."""
    characters = "".join(chr(code) for code in range(0x110000) if code not in SURROGATES)
    single_bytes = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding("probe", pat_str=pattern, mergeable_ranks=single_bytes, special_tokens={})
    return set(bytes(encoding.encode_ordinary(characters)).decode())


def runs(codes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Runs of neighbouring numbers as (first, last)."""
    first = last = -1
    for code in codes:
        if code != last + 1:
            if first >= 0:
                yield first, last
            first = code
        last = code
    yield first, last


if __name__ == "__main__":
    main()
