"""Rules by language: thresholds and stop words that differ from a run's own, from a user's TOML file.

    [de]
    language_threshold = 0.7
    stop_words = ["der", "und", "die", "in", "von", "zu", "den", "das"]
    max_mean_word_characters = 12

    [zh]
    rules = "none"

FineWeb-2 (Penedo et al. 2025) sets the same quantities for each language, from percentiles over clean text in it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ropewalk.config import options_from
from ropewalk.config.options import plain
from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.spacy_words import UNSPACED
from ropewalk.runtime.errors import InputError, OptionError

_SETTABLE_PREFIXES = ("min_", "max_", "c4_", "fineweb_")
_SETTABLE = frozenset(
    {"rules", "language_threshold", "stop_words"}
    | {field.name for field in fields(CorpusOptions) if field.name.startswith(_SETTABLE_PREFIXES)}
) - {"min_relevance", "max_page_bytes", "max_nesting"}


def check_languages(options: CorpusOptions) -> None:
    """Refuse a table that says nothing sensible, and word rules for a language that is named and writes no spaces.

    Raises:
        InputError: the file is no TOML, or not a table of tables.
        OptionError: names the language and the option.
    """
    tables = _tables(options.language_rules) if options.language_rules else {}
    for language in (*tables, *options.languages):
        if rules_for(options, language).rules != "none" and language in UNSPACED and language in options.languages:
            raise OptionError(
                f"rules count words, and {language} is written without spaces: leave it out of --languages, "
                f'or give --language-rules a file that says [{language}] rules = "none"'
            )


@lru_cache(maxsize=512)
def rules_for(options: CorpusOptions, language: str) -> CorpusOptions:
    """The options as they hold for a language. Without a list of its own, one other than English has no stop words."""
    tables = _tables(options.language_rules) if options.language_rules else {}
    own = tables.get(language, {})
    if language != "en" and "stop_words" not in own:
        options = replace(options, stop_words=())
    for name in own:
        if name not in _SETTABLE:
            known = ", ".join(sorted(_SETTABLE))
            raise OptionError(f"{options.language_rules} [{language}]: {name!r} is no rule; known are {known}")
    if not own:
        return options
    return options_from(CorpusOptions, {**plain(options), **own}, where=f"{options.language_rules} [{language}]")


@lru_cache(maxsize=1)
def _tables(path: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be read as TOML ({error}): write a table such as [de] for each language") from None
    for language, table in tables.items():
        if not isinstance(table, dict):
            raise InputError(f"{path}: {language} is no table: write [de], say, and below it what holds for German")
    return tables
