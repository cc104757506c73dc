"""How text is split before BPE, and the runs that no splitter must meet whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

# The Llama-3 spelling of GPT-4's pattern: fast encoders know patterns by their spelling, and this one is known to all.
GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Every digit by itself, then GPT-2's on what stands between: as one pattern, digits end a run of spaces like the text's end.
GPT2_DIGITS = r"'(?:[sdmt]|ll|ve|re)|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"
PATTERNS = {"gpt4": GPT4, "gpt2": GPT2}

# tiktoken's regex engine (0.14) aborts on 999,873 spaces and takes 999,872.
LONGEST_SPACE_CHARS = 900_000

# Unicode's White_Space, which is what \s means to that engine; Python's own \s has four characters more.
_SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_SPACES = re.compile(f"[{_SPACE}]+")


def encodable_pieces(text: str) -> Iterator[str]:
    """Cut whitespace that would abort the splitter. All other text, however long, comes back whole."""
    if len(text) <= LONGEST_SPACE_CHARS:
        yield text
        return
    begin = 0
    for spaces in _SPACES.finditer(text):
        for cut in range(spaces.start() + LONGEST_SPACE_CHARS, spaces.end(), LONGEST_SPACE_CHARS):
            yield text[begin:cut]
            begin = cut
    yield text[begin:]


def well_formed(text: str) -> str:
    """Text that UTF-8 can hold: half surrogate pairs, which JSON may carry, become U+FFFD, whole ones their character."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
