"""The tokenizer beside its peers: learning a vocabulary, and encoding with it.

    python bench/tokenizer.py --out bench/results/tokenizer.json
    python bench/tokenizer.py --out bench/results/tokenizer.json --threads 2

The text is the sources of Python's library and of the installed packages, cut into documents of a page's length.
rustbpe must learn the same tokens and tiktoken give the same ids before anything is timed; Hugging Face's tokenizers
break ties otherwise. Encoding is cold: each round begins with a new encoder, whose memory holds the vocabulary alone.
Loops are compiled before the first round, and how long that took is noted. Texts that make splitters or mergers slow are
timed by themselves, and what each trainer takes of memory is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from harness import LEAST_ROUNDS, Target, compare, write

DOCUMENT_CHARACTERS = 7_500
TEXTS_AT_ONCE = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the results go, JSON")
    parser.add_argument("--rounds", type=int, default=5, help=f"rounds, at least {LEAST_ROUNDS} for a result to keep")
    parser.add_argument("--megabytes", type=float, default=100.0, help="text in all")
    parser.add_argument("--vocabulary", type=int, default=32_768, help="tokens to learn")
    parser.add_argument("--threads", type=int, default=1, help="threads of each contestant")
    parser.add_argument(
        "--memory-of", choices=["ropewalk", "rustbpe", "tokenizers"], help="learn once and print the peak, MB"
    )
    arguments = parser.parse_args()
    for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(arguments.threads)
    documents = list(sources(int(arguments.megabytes * 1e6)))
    if arguments.memory_of:
        trainers(documents, arguments.vocabulary, threads=arguments.threads)[arguments.memory_of]()
        peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        print(int(peak.split()[1]) // 1000)  # getrusage would tell of the process that started this one
        return
    began = time.perf_counter()
    learn_ours(["compile"] * 3, 256, threads=1)
    compiled = f"loops compiled, or loaded from where they were kept, in {time.perf_counter() - began:.1f} s"
    tokens = learn_ours(documents, arguments.vocabulary, threads=arguments.threads)
    learning = race_learning(documents, tokens, threads=arguments.threads, rounds=arguments.rounds)
    encoding = race_encoding(documents, tokens, threads=arguments.threads, rounds=arguments.rounds)
    learning["notes"] = [memory(arguments), compiled]
    encoding["notes"] = [pathological(tokens)]
    write([learning, encoding], arguments.out)


def memory(arguments: argparse.Namespace) -> str:
    """What each trainer takes at most, the texts as Python's strings included."""
    command = [sys.executable, __file__, "--out", "-", "--megabytes", str(arguments.megabytes)]
    command += ["--vocabulary", str(arguments.vocabulary), "--threads", str(arguments.threads), "--memory-of"]
    peaks = {
        name: int(subprocess.run([*command, name], check=True, capture_output=True, text=True).stdout)
        for name in ("ropewalk", "rustbpe", "tokenizers")
    }
    return "peak memory while learning, the texts included: " + ", ".join(f"{name} {mb} MB" for name, mb in peaks.items())


def pathological(tokens: list[bytes]) -> str:
    """Seconds that our encoder takes for a megabyte each of what others stumble over."""
    from ropewalk.tokenizer.counting import join
    from ropewalk.tokenizer.encoder import Encoder
    from ropewalk.tokenizer.pattern import GPT4

    draws, size = random.Random(0), 1_000_000
    texts = {
        "one letter": "a" * size,
        "spaces": " " * size + "x",
        "random letters": "".join(draws.choices("abcdefghijklmnopqrstuvwxyz", k=size)),
        "random Chinese": "".join(map(chr, draws.choices(range(0x4E00, 0x9FA5), k=size // 3))),
        "punctuation": "!" * (size // 2) + "-=" * (size // 4),
    }
    seconds = {}
    for name, text in texts.items():
        encoder, joined = Encoder({token: rank for rank, token in enumerate(tokens)}, pattern=GPT4), join([text])
        began = time.perf_counter()
        encoder.encode(joined)
        seconds[name] = time.perf_counter() - began
    return "seconds for a megabyte, cold: " + ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())


def sources(size: int) -> Iterator[str]:
    """Documents from Python's library and the packages beside it, in name order, no file twice."""
    taken, seen = 0, set()
    for path in sorted(Path(os.__file__).parent.rglob("*.py")) + sorted(Path(np.__file__).parents[1].rglob("*.py")):
        text = path.read_text(encoding="utf-8", errors="ignore")
        if text in seen:
            continue
        seen.add(text)
        for start in range(0, len(text), DOCUMENT_CHARACTERS):
            yield text[start : start + DOCUMENT_CHARACTERS]
        taken += len(text)
        if taken >= size:
            return
    print(f"only {taken / 1e6:.0f} MB of text here", file=sys.stderr)


def learn_ours(documents: list[str], count: int, *, threads: int) -> list[bytes]:
    from ropewalk.tokenizer.counting import count_texts, join
    from ropewalk.tokenizer.pattern import GPT4
    from ropewalk.tokenizer.training import merged_tokens

    batches = (join(documents[at : at + TEXTS_AT_ONCE]) for at in range(0, len(documents), TEXTS_AT_ONCE))
    return merged_tokens(count_texts(batches, pattern=GPT4, threads=threads), count=count)


def trainers(documents: list[str], count: int, *, threads: int) -> dict[str, Callable[[], list[bytes] | None]]:
    """What learns `count` tokens from the documents, by name."""
    import rustbpe
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    from ropewalk.tokenizer.pattern import GPT4

    def rust() -> list[bytes]:
        trainer = rustbpe.Tokenizer()  # pyright: ignore[reportAttributeAccessIssue]
        trainer.train_from_iterator(iter(documents), count, pattern=GPT4)
        return [bytes(token) for token, _ in sorted(trainer.get_mergeable_ranks(), key=lambda entry: entry[1])]

    def face() -> None:
        tokenizer = Tokenizer(models.BPE())
        split = pre_tokenizers.Split(Regex(GPT4), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=count, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(documents, trainer)

    return {"ropewalk": lambda: learn_ours(documents, count, threads=threads), "rustbpe": rust, "tokenizers": face}


def race_learning(documents: list[str], tokens: list[bytes], *, threads: int, rounds: int) -> dict[str, object]:
    """Check that rustbpe learns the same, then time."""
    text_bytes = sum(len(text.encode()) for text in documents)
    contestants = trainers(documents, len(tokens), threads=threads)
    if contestants["rustbpe"]() != tokens:
        sys.exit("rustbpe learns other tokens: there is nothing to compare")
    return compare(
        "tokenizer",
        {name: _of(text_bytes, work) for name, work in contestants.items()},
        what=f"learning {len(tokens):,} tokens from {text_bytes / 1e6:.0f} MB of source text, {threads} thread(s)",
        unit="bytes",
        targets=[Target("ropewalk", "rustbpe", 2.5), Target("ropewalk", "tokenizers", 5.0)],
        libraries=["numba", "rustbpe", "tokenizers"],
        rounds=rounds,
    )


def race_encoding(documents: list[str], tokens: list[bytes], *, threads: int, rounds: int) -> dict[str, object]:
    """Check that tiktoken gives the same ids, then time both to arrays of numpy."""
    import tiktoken

    from ropewalk.tokenizer.counting import Texts, join
    from ropewalk.tokenizer.encoder import Encoder
    from ropewalk.tokenizer.pattern import GPT4

    text_bytes = sum(len(text.encode()) for text in documents)
    ranks = {token: rank for rank, token in enumerate(tokens)}
    special = {"<|endoftext|>": len(tokens)}  # told of none, tiktoken is 1.6 times slower
    peer = tiktoken.Encoding("bench", pat_str=GPT4, mergeable_ranks=ranks, special_tokens=special)
    with ThreadPoolExecutor(threads) as pool:

        def ours() -> np.ndarray:
            encoder = Encoder(ranks, pattern=GPT4)

            def encode(at: int) -> np.ndarray:
                texts: Texts = join(documents[at : at + TEXTS_AT_ONCE])
                return encoder.encode(texts)[0]

            return np.concatenate(list(pool.map(encode, range(0, len(documents), TEXTS_AT_ONCE))))

        def theirs() -> np.ndarray:
            return np.concatenate(list(pool.map(lambda text: peer.encode_to_numpy(text, disallowed_special=()), documents)))

        if not np.array_equal(ours(), theirs()):
            sys.exit("tiktoken gives other ids: there is nothing to compare")
        return compare(
            "tokenizer",
            {"ropewalk": _of(text_bytes, ours), "tiktoken": _of(text_bytes, theirs)},
            what=f"encoding {text_bytes / 1e6:.0f} MB of source text, vocabulary {len(tokens):,}, {threads} thread(s)",
            unit="bytes",
            targets=[Target("ropewalk", "tiktoken", 3.0)],
            libraries=["numba", "tiktoken"],
            rounds=rounds,
        )


def _of(amount: float, work: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        work()
        return amount

    return run


if __name__ == "__main__":
    main()
