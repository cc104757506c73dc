"""`ropewalk init`: look at a folder of pages, or take an address, and write a recipe of the right size for it."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from ropewalk.cli.pages import TEXT_FRACTION, count_pages
from ropewalk.cli.verbs import STAGE_VERBS
from ropewalk.config import load_recipe
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.runtime.progress import clock, say, size
from ropewalk.runtime.terminal import one_line

TEXT_BYTES_PER_PAGE = 4_000
PAGES_OF_A_SITE = 2_000
BYTES_PER_TOKEN = 3.7
EPOCHS = 4  # Muennighoff et al. 2023: up to four readings are worth nearly as much as fresh text
TOKENS_PER_PARAMETER = 20  # Hoffmann et al. 2022


@dataclass(frozen=True)
class InitOptions:
    """Write a recipe for your own pages, from the pages to the report, sized to what is there."""

    source: Positional[str]
    """A folder of HTML, Markdown, text, WARC, WET, JSONL or Parquet files, or the address of a web site."""
    out: Path = Path("recipe.toml")
    """The recipe to write. A file that is there already is not replaced."""


@dataclass(frozen=True)
class Sizes:
    """What follows from the amount of text."""

    vocabulary: int
    depth: int
    context_tokens: int
    train_tokens: int


def run_init(options: InitOptions) -> None:
    """Look at the source, write the recipe, say what to do next.

    Raises:
        OptionError: the recipe is there already, its folder is not, or the source is neither a folder nor an address.
        InputError: the folder holds no pages.
    """
    if options.out.exists():
        raise OptionError(f"ropewalk init: {options.out} is there already: give another --out, or delete it")
    if not options.out.parent.is_dir():
        raise OptionError(f"ropewalk init: there is no folder {options.out.parent}: make it, or give another --out")
    is_site = re.match(r"https?://", options.source) is not None
    text = recipe_for_site(options.source) if is_site else recipe_for_folder(Path(options.source))
    with options.out.open("x", encoding="utf-8") as file:
        file.write(text)
    load_recipe(options.out, options_classes={name: verb.load_options() for name, verb in STAGE_VERBS.items()})
    if not is_site and options.out.resolve().is_relative_to(Path(options.source).resolve()):
        say(f"Note: {options.out} lies among the pages, so an edit of it makes them other pages; --out puts it elsewhere.")
    print(f"Wrote {options.out}. Read it, then:\n  ropewalk run {options.out} --dry-run\n  ropewalk run {options.out}")


def recipe_for_site(address: str) -> str:
    """A recipe that crawls one site."""
    from ropewalk.crawl.urls import normalise, site_host

    normal = normalise(address)
    if normal is None:
        raise OptionError(f"ropewalk init: {address} is no address to crawl: write it like https://example.org/")
    sizes = sizes_for(PAGES_OF_A_SITE * TEXT_BYTES_PER_PAGE)
    crawl = f"""
[pages]
stage = "crawl"
sites = [{_toml(address)}]          # only the hosts named here are ever contacted
max_pages = {PAGES_OF_A_SITE:_}            # how many pages the site has is not known: the sizes below assume this many
max_depth = 20
delay_seconds = 1.0          # between requests: {PAGES_OF_A_SITE:_} pages take {clock(PAGES_OF_A_SITE)} or more
"""
    into = Path("runs", _slug(site_host(normal)))
    return _recipe(f"The pages of {address}.", into, crawl, '"pages"', sizes)


def recipe_for_folder(folder: Path) -> str:
    """A recipe that reads files where they lie."""
    if not folder.is_dir():
        raise OptionError(f"ropewalk init: {folder} is neither a folder nor an address beginning with http:// or https://")
    files, file_bytes = count_pages(folder)
    if not files:
        raise InputError(f"{folder} holds no pages: ropewalk reads {', '.join(TEXT_FRACTION)}")
    text_bytes = sum(file_bytes[suffix] * TEXT_FRACTION[suffix] for suffix in file_bytes)
    counted = ", ".join(f"{count:,} {suffix} ({size(file_bytes[suffix])})" for suffix, count in files.most_common())
    about = f"The pages in {folder}: {counted}, about {size(text_bytes)} of text."
    print(one_line(about))
    return _recipe(about, _outside(folder), "", _toml(str(folder)), sizes_for(text_bytes))


def _outside(folder: Path) -> Path:
    """Where the artifacts go: below runs/ here, or beside `folder` if here is inside it, for no stage may write there."""
    name = _slug(folder.resolve().name)
    into = Path("runs", name)
    if into.resolve().is_relative_to(folder.resolve()):
        return Path(os.path.relpath(folder.resolve().parent / f"{name}-run"))
    return into


def sizes_for(text_bytes: float) -> Sizes:
    """Vocabulary, model and training for so much text.

    The vocabulary grows with the root of the tokens (Heaps' law); the text is read at most four times; the model has as
    many parameters as a twentieth of the tokens it reads, between 2 and 12 layers of 64 width each.
    """
    tokens = max(text_bytes / BYTES_PER_TOKEN, 1.0)
    vocabulary = 2 ** round(math.log2(2 * math.sqrt(tokens)))
    train_tokens = EPOCHS * tokens
    depth = round((train_tokens / TOKENS_PER_PARAMETER / (12 * 64**2)) ** (1 / 3))
    return Sizes(
        vocabulary=min(max(vocabulary, 512), 65_536),
        depth=min(max(depth, 2), 12),
        context_tokens=256 if tokens < 1e6 else 512,
        train_tokens=max(100_000, _round(train_tokens)),
    )


def _round(number: float) -> int:
    """Two leading digits: the rest would pretend to a precision that is not there."""
    unit = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return round(number / unit) * unit


def _recipe(about: str, into: Path, crawl: str, pages: str, sizes: Sizes) -> str:
    return f"""# {one_line(about)}
# Written by 'ropewalk init'. Every option of a stage may stand in its section: 'ropewalk STAGE --help' lists them.
into = {_toml(str(into))}
{crawl}
[corpus]
stage = "corpus"
pages = {pages}
languages = ["en"]           # others are dropped; [] keeps all
held_out_fraction = 0.02     # set aside for evaluation, never trained on

[tokenizer]
stage = "tokenizer"
corpus = "corpus"
vocabulary = {sizes.vocabulary}

[tokens]
stage = "tokenize"
corpus = "corpus"
tokenizer = "tokenizer"

[model]
stage = "pretrain"
tokens = "tokens"
tokenizer = "tokenizer"
depth = {sizes.depth}                    # layers; the width and all else follow from it
context_tokens = {sizes.context_tokens}
train_tokens = {sizes.train_tokens:_}     # fewer is faster, more is better up to about four times the corpus

[evaluation]
stage = "eval"
model = "model"
tokens = "tokens"
corpus = "corpus"

[report]
stage = "report"
evaluation = "evaluation"
"""


def _toml(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, but for the delete character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "pages"
