"""Read a byte-level BPE vocabulary from Hugging Face's tokenizer.json, ours or made elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.files import BYTE_ALPHABET, Vocabulary, bytes_of, halves
from ropewalk.tokenizer.pattern import GPT2, GPT2_DIGITS

NEEDED_BYTES = (0xEF, *range(0x80, 0xC0))  # those of U+FFFD, and all that continue a character


def read_vocabulary(path: Path) -> Vocabulary:
    """What a tokenizer.json describes.

    tokenizers merges by the order of its merges, tiktoken by the ids of what they make. Refused is all where the two could
    part, or where text would be changed before it is split.

    Raises:
        InputError: no such file, or one of another kind.
    """
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        why = _unreadable(described)
        if why is None:
            return _vocabulary(described)
    except FileNotFoundError:
        raise InputError(f"there is no {path.name} in {path.parent}: give a tokenizer or a model folder") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        why = "it is damaged, or of another kind"
    raise InputError(
        f"{path} is not a byte-level BPE tokenizer that ropewalk reads ({why}): make one, or take another model"
    )


def _vocabulary(described: Mapping[str, Any]) -> Vocabulary:
    special = {added["content"]: added["id"] for added in described["added_tokens"]}
    ids = {shown: index for shown, index in described["model"]["vocab"].items() if shown not in special}
    tokens = [bytes_of(shown) for shown in sorted(ids, key=ids.__getitem__)]
    return Vocabulary(tokens, special, described["pre_tokenizer"])


def split_pattern(pre_tokenizer: Mapping[str, Any]) -> str | None:
    """The one pattern that splits text as a pre-tokenizer does, or None if none is known for it."""
    steps = pre_tokenizer["pretokenizers"] if pre_tokenizer["type"] == "Sequence" else [pre_tokenizer]
    *splits, byte_level = steps
    if byte_level["type"] != "ByteLevel" or byte_level["add_prefix_space"] or len(splits) > 1:
        return None
    by_itself = byte_level.get("use_regex", True)
    if not splits:
        return GPT2 if by_itself else None
    split = splits[0]
    if split["type"] == "Digits" and split["individual_digits"] and by_itself:
        return GPT2_DIGITS
    if split["type"] == "Split" and split["behavior"] == "Isolated" and not split["invert"] and not by_itself:
        return split["pattern"].get("Regex")
    return None


def _unreadable(described: Mapping[str, Any]) -> str | None:
    """Why this tokenizer.json cannot be read here, or None."""
    model, added = described["model"], described["added_tokens"]
    if described["normalizer"] is not None:
        return "it changes text before it splits it"
    if split_pattern(described["pre_tokenizer"]) is None:
        return "it splits text in a way that is not known here"
    if model["type"] != "BPE" or model.get("ignore_merges") or model.get("byte_fallback"):
        return "its model is not plain BPE"
    if odd := next((token for token in added if not _plainly_special(token)), None):
        return f"its added token {odd['content']!r} is not plainly special"
    special = {token["content"]: token["id"] for token in added}
    ids = {shown: index for shown, index in model["vocab"].items() if shown not in special}
    if sorted([*ids.values(), *special.values()]) != list(range(len(ids) + len(special))):
        return "its ids have gaps or meet twice"
    if not {BYTE_ALPHABET[byte] for byte in NEEDED_BYTES} <= ids.keys():
        return "it lacks bytes that characters of every kind need"
    return _disorder(ids, model["merges"])


def _plainly_special(added: Mapping[str, Any]) -> bool:
    return added["special"] and not any(added.get(flag) for flag in ("lstrip", "rstrip", "single_word"))


def _disorder(ids: Mapping[str, int], merges: list[Any]) -> str | None:
    """Why merging by ids could differ from these merges, or None. `check_merges` looks deeper."""
    made = [ids["".join(_pair(merge))] for merge in merges]
    if any(first >= second for first, second in pairwise(made)):
        return "its merges are not in the order of its ids"
    if len(made) != sum(len(shown) > 1 for shown in ids):
        return "some of its tokens are made by no merge"
    return None


def check_merges(path: Path) -> None:
    """Prove that merging by ids gives what the merges in a tokenizer.json give; a second for 50,000, so `import` asks it.

    If merging a token's own bytes ends in the two halves of its merge, that is so wherever the bytes stand: no merge may
    cross a place where a token of the result begins or ends, so what happens between two such places happens in order.

    Raises:
        InputError: a merge that would not come to pass.
    """
    described = json.loads(path.read_text(encoding="utf-8"))
    pairs = [(bytes_of(left), bytes_of(right)) for left, right in map(_pair, described["model"]["merges"])]
    ranks = {bytes([byte]): byte for byte in range(256)}
    ranks.update((left + right, 256 + number) for number, (left, right) in enumerate(pairs))
    for left, right in pairs:
        if halves(left + right, ranks) != (left, right):
            raise InputError(
                f"{path}: its merge of {left!r} and {right!r} hangs on more than the order of ids: take another"
            )


def _pair(merge: Any) -> Sequence[str]:
    """A merge as its two halves; older files write them as one text."""
    return merge.split(" ") if isinstance(merge, str) else merge
