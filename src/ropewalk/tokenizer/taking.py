"""Take in a vocabulary made elsewhere, with the special tokens that our models need."""

from __future__ import annotations

from pathlib import Path

from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.files import TOKENIZER_JSON, Vocabulary, merges_of, split_by
from ropewalk.tokenizer.known import read_ranks_file, recognised, with_special
from ropewalk.tokenizer.reading import check_merges, read_vocabulary
from ropewalk.tokenizer.special import SPECIAL


def take(path: Path, *, pattern: str) -> Vocabulary:
    """The vocabulary at `path`, a Hugging Face folder or a file of tiktoken's ranks, with all of `special.SPECIAL` in it.

    Args:
        pattern: how text is split for ranks that are not known by themselves; a folder says it.

    Raises:
        InputError: there is no such thing, or one that would not be encoded as where it comes from.
    """
    if path.is_dir():
        taken = read_vocabulary(path / TOKENIZER_JSON)
        check_merges(path / TOKENIZER_JSON)
        return with_special(taken.tokens, taken.special, taken.pre_tokenizer, names=SPECIAL)
    try:
        tokens = read_ranks_file(path.read_bytes())
        if len({token for token in tokens if len(token) == 1}) < 256:
            raise ValueError("it lacks some of the 256 bytes")
        merges_of(tokens)
    except (OSError, EOFError, ValueError) as error:
        raise InputError(
            f"{path} is neither a folder with a {TOKENIZER_JSON} nor a file of tiktoken's ranks ({error}): give one of these"
        ) from None
    known = recognised(tokens)
    special = known.special if known else {}
    return with_special(tokens, special, split_by(known.pattern if known else pattern), names=SPECIAL)
