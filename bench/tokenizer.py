"""Encoding: `ropewalk.tokenizer` and Hugging Face's `tokenizers` on one tokenizer.json, one text, all cores.

The text is Python's standard library, cut into documents of a page's length; the vocabulary is learned from it. Both must
give the same ids before anything is timed.

    python bench/tokenizer.py --out bench/results/tokenizer.json
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import LEAST_ROUNDS, Target, compare, write

DOCUMENT_CHARACTERS = 7_500
LEAST_RATIO = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the result goes, JSON")
    parser.add_argument("--rounds", type=int, default=5, help=f"rounds, at least {LEAST_ROUNDS} for a result to keep")
    parser.add_argument("--megabytes", type=float, default=20.0, help="text in all")
    parser.add_argument("--vocabulary", type=int, default=8_192, help="tokens to learn")
    arguments = parser.parse_args()
    documents = standard_library(int(arguments.megabytes * 1e6))
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = learn(Path(folder), documents, arguments.vocabulary)
        write(race(tokenizer, documents, rounds=arguments.rounds), arguments.out)


def standard_library(characters: int) -> list[str]:
    """Documents from the library's sources, in name order, repeated if they are fewer."""
    paths = sorted(Path(os.__file__).parent.rglob("*.py"))
    text = ""
    for path in paths:
        if "site-packages" not in path.parts:
            text += path.read_text(encoding="utf-8", errors="ignore")
        if len(text) >= characters:
            break
    text = (text * (characters // len(text) + 1))[:characters]
    return [text[start : start + DOCUMENT_CHARACTERS] for start in range(0, len(text), DOCUMENT_CHARACTERS)]


def learn(folder: Path, documents: list[str], vocabulary: int) -> Path:
    """A tokenizer artifact, learned from the documents through a corpus artifact as any other."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ropewalk.artifact import Part, build
    from ropewalk.tokenizer import TokenizerOptions, run_tokenizer

    def make(part: Part) -> dict[str, object]:
        count = len(documents)
        columns = {
            "text": documents,
            "url": [""] * count,
            "page_id": [f"{number:064x}" for number in range(count)],
            "split": ["held_out" if number % 50 == 0 else "train" for number in range(count)],
        }
        pq.write_table(pa.table(columns), part.folder / "documents-00000.parquet")
        return {"documents": count}

    corpus = build(folder / "corpus", kind="corpus", stage_version=1, options={}, inputs={}, libraries=(), make=make)
    return run_tokenizer(TokenizerOptions(corpus=corpus.path, vocabulary=vocabulary), out=folder / "tokenizer").path


def race(folder: Path, documents: list[str], *, rounds: int) -> dict[str, object]:
    """Check that both give the same ids, then time them."""
    from tokenizers import Tokenizer as Peer

    from ropewalk.tokenizer.encoding import Tokenizer

    ours = Tokenizer.load(folder)
    peer = Peer.from_file(str(folder / "tokenizer.json"))
    text_bytes = sum(len(text.encode()) for text in documents)
    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def encode_ours():
            return ours.encode_batch(documents, pool=pool)

        def encode_peer():
            # The fast form, without character offsets, and its ids left unread: to the peer's advantage.
            return peer.encode_batch_fast(documents, add_special_tokens=False)

        ids, offsets = encode_ours()
        for number, theirs in enumerate(encode_peer()):
            if ids[offsets[number] : offsets[number + 1]].tolist() != theirs.ids:
                sys.exit(f"the two tokenizers disagree on document {number}: there is nothing to compare")
        return compare(
            "tokenizer",
            {"ropewalk": lambda: (encode_ours(), text_bytes)[1], "tokenizers": lambda: (encode_peer(), text_bytes)[1]},
            what=f"encoding {text_bytes / 1e6:.0f} MB of source text, vocabulary {ours.vocabulary:,}",
            unit="bytes",
            targets=[Target("ropewalk", "tokenizers", LEAST_RATIO)],
            libraries=["tokenizers", "tiktoken", "torch"],
            rounds=rounds,
        )


if __name__ == "__main__":
    main()
