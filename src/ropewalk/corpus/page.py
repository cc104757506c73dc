"""One record in, one row out: decode, extract, identify the language, judge. Pure, so that any worker may do it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from datetime import date

from resiliparse.parse.encoding import detect_mime

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.decode import MAX_UNREADABLE_FRACTION, decode, unreadable_fraction
from ropewalk.corpus.duplicates import band_hashes, text_hash
from ropewalk.corpus.extract import Extracted, clean, extract
from ropewalk.corpus.language import detect
from ropewalk.corpus.records import Record
from ropewalk.corpus.relevance import load_classifier
from ropewalk.corpus.rules import apply_rules

HTML_TYPES = ("text/html", "application/xhtml+xml")
TEXT_TYPES = ("text/plain", "text/markdown", "text/x-markdown")
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
    text: str | None = None
    text_hash: str | None = None
    bands: bytes | None = None

    def dropped(self, stage: str, reason: str, value: float | None = None, threshold: float | None = None) -> Row:
        """This row, dropped: its text goes, its sizes stay."""
        return replace(self, stage=stage, reason=reason, value=value, threshold=threshold, text=None)


def process(record: Record, options: CorpusOptions) -> Row:
    """Take a record as far as a page can be judged by itself."""
    row = Row(url=record.url, page_id=record.page_id, payload_bytes=len(record.payload))
    content_type = _content_type(record)
    row = _readable(row, record, content_type, options)
    if row.stage != "kept":
        return row
    decoded = decode(record.payload, record.charset)
    unreadable = unreadable_fraction(decoded)
    if unreadable > MAX_UNREADABLE_FRACTION:
        return row.dropped("decode", "unreadable", unreadable, MAX_UNREADABLE_FRACTION)
    page = Extracted(clean(decoded), None)
    if content_type in HTML_TYPES:
        page = extract(decoded, max_nesting=options.max_nesting)
    if page.nesting is not None:
        return row.dropped("extract", "nesting", page.nesting, options.max_nesting)
    modified = date.fromisoformat(record.last_modified) if record.last_modified else None
    row = replace(_with_text(row, page.text), title=page.title, date=modified)
    return _judged(row, page.text, record.dump, options) if page.text.strip() else row.dropped("extract", "no_text")


def _readable(row: Row, record: Record, content_type: str, options: CorpusOptions) -> Row:
    if record.fault is not None:
        return row.dropped("read", "fault")
    if not record.payload:
        return row.dropped("read", "empty")
    if len(record.payload) > options.max_page_bytes:
        return row.dropped("read", "too_large", len(record.payload), options.max_page_bytes)
    if content_type not in (*HTML_TYPES, *TEXT_TYPES):
        return row.dropped("read", f"content_type={content_type}")
    return row


def _with_text(row: Row, text: str) -> Row:
    return replace(row, text=text, characters=len(text), text_bytes=len(text.encode()))


def _judged(row: Row, text: str, dump: str, options: CorpusOptions) -> Row:
    language, score = detect(text, options.language_threshold)
    row = replace(row, language=language, language_score=round(score, 6))
    if (options.languages and language not in options.languages) or score < options.language_threshold:
        return row.dropped("language", f"language={language}", row.language_score, options.language_threshold)
    text, failure = apply_rules(text, language, options)
    row = _with_text(row, text)
    if failure is not None:
        return row.dropped("quality", failure.rule, failure.value, failure.threshold)
    if options.classifier is not None:
        relevance = load_classifier(options.classifier).score(text)
        row = replace(row, relevance=relevance)
        if relevance < options.min_relevance:
            return row.dropped("relevance", "irrelevant", relevance, options.min_relevance)
    row = replace(row, text_hash=text_hash(text, within=dump))
    if not options.near_duplicates:
        return row
    bands = band_hashes(text, bands=options.minhash_bands, band_hashes=options.minhash_band_hashes, within=dump)
    return replace(row, bands=struct.pack(f"<{len(bands)}Q", *bands))


def _content_type(record: Record) -> str:
    """The server's word for what this is; the bytes' own where it has none."""
    told = (record.content_type or "").partition(";")[0].strip().lower()
    return detect_mime(record.payload) if told in UNTOLD_TYPES and record.payload else told
