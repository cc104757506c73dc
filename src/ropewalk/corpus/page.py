"""One record in, one row out: decode, extract, identify the language, judge. Pure, so that any worker may do it."""

from __future__ import annotations

import gc
import struct
import time
from dataclasses import dataclass, field, replace
from datetime import date

from resiliparse.parse.encoding import detect_mime

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.contamination import LEAST_CHARACTERS, Evaluation, cut, find_overlap, load_runs
from ropewalk.corpus.decode import MAX_UNREADABLE_FRACTION, decode, unreadable_fraction
from ropewalk.corpus.duplicates import band_hashes, text_hash
from ropewalk.corpus.extract import Extracted, clean, extract
from ropewalk.corpus.forget import FORGOTTEN, load_forgotten
from ropewalk.corpus.language import detect
from ropewalk.corpus.languages import rules_for
from ropewalk.corpus.precise import load_trafilatura
from ropewalk.corpus.records import Record
from ropewalk.corpus.relevance import load_classifier
from ropewalk.corpus.rights import Rights, read_rights
from ropewalk.corpus.rules import apply_rules
from ropewalk.corpus.spacy_words import MOST_LANGUAGES, splitter
from ropewalk.corpus.urls import load_url_lists

HTML_TYPES = ("text/html", "application/xhtml+xml")
TEXT_TYPES = ("text/plain", "text/markdown", "text/x-markdown")
SAMPLE_CHARACTERS = 300
FEW_COLLECTIONS = 50_000  # objects made and not yet gone; Python's own is 700
UNTOLD_TYPES = ("", "application/octet-stream", "unknown/unknown")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of a record: the stage at which it was dropped and why, or its text. Field order is column order."""

    url: str
    page_id: str
    payload_bytes: int
    stage: str = "kept"
    reason: str = ""
    value: float | None = None
    threshold: float | None = None
    characters: int = 0
    text_bytes: int = 0
    language: str | None = None
    language_score: float | None = None
    relevance: float | None = None
    date: date | None = None
    title: str | None = None
    rights: str | None = None
    license: str | None = None
    overlaps: str | None = None
    text: str | None = None
    text_hash: str | None = None
    bands: bytes | None = None
    cpu_seconds: float = field(default=0.0, compare=False)

    def dropped(self, stage: str, reason: str, value: float | None = None, threshold: float | None = None) -> Row:
        """This row, dropped: its text goes but for a sample's worth, its sizes stay."""
        text = self.text[:SAMPLE_CHARACTERS] if self.text else None
        return replace(self, stage=stage, reason=reason, value=value, threshold=threshold, text=text)


def prepare(options: CorpusOptions) -> None:
    """Load what takes long, once in a process: the first page would otherwise be charged with a second of it."""
    for language in options.languages[:MOST_LANGUAGES] or ("en",):
        if rules_for(options, language).rules != "none":
            splitter(language)
    if options.extractor == "precise":
        load_trafilatura()
    if options.url_lists is not None:
        load_url_lists(options.url_lists)
    # What is loaded stays, and pages leave few cycles. Without any collection trafilatura took 8.1 s where it took 9.6.
    gc.freeze()
    gc.set_threshold(FEW_COLLECTIONS)


def process(record: Record, options: CorpusOptions, evaluation: Evaluation | None = None) -> Row:
    """Take a record as far as a page can be judged by itself; `evaluation` is what it must not repeat."""
    started = time.thread_time()
    row = _process(record, options, evaluation)
    return replace(row, cpu_seconds=time.thread_time() - started)


def _process(record: Record, options: CorpusOptions, evaluation: Evaluation | None) -> Row:
    row = Row(url=record.url, page_id=record.page_id, payload_bytes=record.payload_bytes)
    if options.forget is not None and load_forgotten(options.forget).naming(record.url):
        return row.dropped("rights", FORGOTTEN)
    blocked = load_url_lists(options.url_lists).reason(record.url) if options.url_lists else None
    if blocked is not None:
        return row.dropped("url", blocked)
    content_type = _content_type(record)
    row = _readable(row, record, content_type, options)
    if row.stage != "kept":
        return row
    decoded = decode(record.payload, record.charset)
    unreadable = unreadable_fraction(decoded)
    if unreadable > MAX_UNREADABLE_FRACTION:
        return row.dropped("decode", "unreadable", unreadable, MAX_UNREADABLE_FRACTION)
    row = _with_rights(row, read_rights(decoded if content_type in HTML_TYPES else "", record.url, record.headers), options)
    if row.stage != "kept":
        return row
    if content_type in HTML_TYPES:
        page = extract(decoded, max_nesting=options.max_nesting, extractor=options.extractor)
    else:
        page = Extracted(clean(decoded), None)
    if page.nesting is not None:
        return row.dropped("extract", "nesting", page.nesting, options.max_nesting)
    modified = date.fromisoformat(record.last_modified) if record.last_modified else None
    row = replace(_with_text(row, page.text), title=page.title, date=modified)
    if not page.text.strip():
        return row.dropped("extract", "no_text")
    row = _judged(row, page.text, options)
    if row.stage == "kept" and evaluation is not None:
        row = _decontaminated(row, evaluation, options)
    return _hashed(row, record.dump, options) if row.stage == "kept" else row


def _readable(row: Row, record: Record, content_type: str, options: CorpusOptions) -> Row:
    if record.fault is not None:
        return row.dropped("read", "fault")
    if record.payload_bytes > options.max_page_bytes:
        return row.dropped("read", "too_large", record.payload_bytes, options.max_page_bytes)
    if not record.payload:
        return row.dropped("read", "empty")
    if content_type not in (*HTML_TYPES, *TEXT_TYPES):
        return row.dropped("read", f"content_type={content_type}")
    return row


def _with_rights(row: Row, rights: Rights, options: CorpusOptions) -> Row:
    row = replace(row, rights=",".join(rights.signals) or None, license=rights.license)
    unwanted = [signal for signal in rights.signals if signal in options.drop_rights]
    return row.dropped("rights", unwanted[0]) if unwanted else row


def _with_text(row: Row, text: str) -> Row:
    return replace(row, text=text, characters=len(text), text_bytes=len(text.encode()))


def _judged(row: Row, text: str, options: CorpusOptions) -> Row:
    language, score = detect(text, lambda language: rules_for(options, language).language_threshold)
    threshold = rules_for(options, language).language_threshold
    row = replace(row, language=language, language_score=round(score, 6))
    if (options.languages and language not in options.languages) or score < threshold:
        return row.dropped("language", f"language={language}", row.language_score, threshold)
    text, failure = apply_rules(text, language, options)
    row = _with_text(row, text)
    if failure is not None:
        return row.dropped("quality", failure.rule, failure.value, failure.threshold)
    if options.classifier is not None:
        relevance = load_classifier(options.classifier).score(text)
        row = replace(row, relevance=relevance)
        if relevance < options.min_relevance:
            return row.dropped("relevance", "irrelevant", relevance, options.min_relevance)
    return row


def _decontaminated(row: Row, evaluation: Evaluation, options: CorpusOptions) -> Row:
    text = row.text
    assert text is not None
    known = load_runs(evaluation.runs)
    overlap = find_overlap(text, known)
    if not overlap.files:
        return row
    most = min(overlap.files, key=lambda file: (-overlap.files[file], file))
    name, runs = evaluation.files[most].name, overlap.files[most]
    row = replace(row, overlaps=",".join(map(str, sorted(overlap.files))))
    if options.decontaminate_by == "cut":
        text = cut(text, overlap.inside)
        if len(text) >= LEAST_CHARACTERS and not find_overlap(text, known).files:  # lines that now meet may make a run
            return replace(_with_text(row, text), reason=f"cut={name}", value=runs, threshold=0)
    return row.dropped("contamination", f"overlap={name}", runs, 0)


def _hashed(row: Row, dump: str, options: CorpusOptions) -> Row:
    """With the hashes by which duplicates are found."""
    text = row.text
    assert text is not None
    row = replace(row, text_hash=text_hash(text, within=dump))
    if not options.near_duplicates:
        return row
    bands = band_hashes(text, bands=options.minhash_bands, band_hashes=options.minhash_band_hashes, within=dump)
    return replace(row, bands=struct.pack(f"<{len(bands)}Q", *bands))


def _content_type(record: Record) -> str:
    """The server's word for what this is; the bytes' own where it has none."""
    told = (record.content_type or "").partition(";")[0].strip().lower()
    return detect_mime(record.payload) if told in UNTOLD_TYPES and record.payload else told
