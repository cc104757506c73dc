"""A corpus' options without its rules, and without each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ropewalk.artifact import REMOTE, Artifact, source_digest
from ropewalk.config import options_from
from ropewalk.corpus import CorpusOptions
from ropewalk.runtime.errors import ArtifactError

FILTERED, RAW = "filtered", "raw"
_GROUPS = {
    "gopher": ("repetition", "quality"),
    "c4": ("c4",),
    "fineweb": ("repetition", "quality", "c4", "fineweb"),
    "fineweb-paper": ("repetition", "quality", "c4", "fineweb"),
    "none": (),
}
_ANY_LANGUAGE: dict[str, Any] = {"languages": (), "language_threshold": 0.0}
_NO_REPEATS: dict[str, Any] = {"max_line_documents": 0, "passage_words": 0}
_NO_CLASSIFIER: dict[str, Any] = {"classifier": None, "keep_fraction": 1.0}


@dataclass(frozen=True)
class Variant:
    """A corpus to make. name: `filtered`, `raw`, or the rule that it is made without."""

    name: str
    options: CorpusOptions


def read_options(corpus: Artifact) -> CorpusOptions:
    """The options that a corpus was made with.

    Raises:
        ArtifactError: one of its inputs is gone, or no longer what it was.
        OptionError: another version of ropewalk made it, with options that this one does not know.
    """
    inputs = {}
    for name, entry in corpus.inputs.items():
        path = entry["path"] if entry["kind"] == REMOTE else corpus.input_path(name)
        if source_digest(path)[1] != entry["digest"]:
            raise ArtifactError(f"{path} is not what {corpus.path} was made from: make the corpus anew with --force")
        inputs[name] = str(path)
    return options_from(CorpusOptions, {**corpus.options, **inputs}, where=str(corpus.path))


def variants(options: CorpusOptions) -> Iterator[Variant]:
    """The corpus as it is, then raw, then without each stage or group of rules that it has, in the order of the stages.

    Raw are the texts of all pages that could be read and not forgotten; but a page that is there twice is one.
    """
    yield Variant(FILTERED, options)
    out = options.leave_out
    raw = {"rules": "none", "near_duplicates": False, "url_lists": None, "drop_rights": (), "language_rules": None}
    everything = {**raw, **_ANY_LANGUAGE, **_NO_REPEATS, **_NO_CLASSIFIER, "leave_out": (*out, "exact_duplicate")}
    yield Variant(RAW, replace(options, **everything))
    if options.url_lists is not None:
        yield Variant("url", replace(options, url_lists=None))
    if options.languages:
        yield Variant("language", replace(options, **_ANY_LANGUAGE))
    for group in _GROUPS[options.rules]:
        if group not in out:
            yield Variant(group, replace(options, leave_out=(*out, group)))
    if options.classifier is not None:
        yield Variant("relevance", replace(options, **_NO_CLASSIFIER))
    if "exact_duplicate" not in out:
        yield Variant("exact_duplicate", replace(options, leave_out=(*out, "exact_duplicate")))
    if options.near_duplicates:
        yield Variant("near_duplicate", replace(options, near_duplicates=False))
    if options.max_line_documents or options.passage_words:
        yield Variant("repeats", replace(options, **_NO_REPEATS))
