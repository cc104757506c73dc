"""Passages of evaluation sets in pages: runs of words that stand in both, as GPT-3 looked for them.

A page is contaminated if any `decontaminate_words` words in a row (13) stand in a text of the evaluation too (Brown et al.
2020, appendix C). A shorter text of at least `decontaminate_least_words` words (8) counts if all of it stands in the page in
a row; Brown et al. leave such texts out. What is shorter still is not looked for: pages say "What is the capital of France?"
by themselves. Of a question the messages are looked for and not its right answers: pages are there to state those.

Only numbers of the runs are kept, 11 bytes for each: files in scratch, which all workers map.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ropewalk.artifact import Part
from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.hashes import hash_runs, word_hashes
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.lines import read_objects
from ropewalk.runtime.progress import say

SUFFIXES = (".jsonl", ".parquet", ".txt")
FIELDS = ("messages", "text", "question", "prompt")
LEAST_CHARACTERS = 200
RUNS = "contamination"
_RUN = np.dtype([("words", "u1"), ("hash", "<u8"), ("file", "<u2")])


@dataclass(frozen=True)
class EvaluationFile:
    """One file of the evaluation. texts: in it; too_short: of these, not looked for; runs: different ones looked for."""

    name: str
    texts: int
    too_short: int
    runs: int


@dataclass(frozen=True)
class Evaluation:
    """All of the evaluation. runs: where `write_runs` left them."""

    runs: Path
    files: tuple[EvaluationFile, ...]


@dataclass(frozen=True)
class Overlap:
    """What a text and the evaluation share. files: how many different runs by the file's number; inside: which words."""

    files: dict[int, int]
    inside: np.ndarray


@dataclass(frozen=True)
class Runs:
    """Runs of one length: their hashes in ascending order, and the number of the file each is from."""

    hashes: np.ndarray
    files: np.ndarray


def find_overlap(text: str, known: dict[int, Runs]) -> Overlap:
    """Look for the runs of the evaluation, as `load_runs` gives them, in a text."""
    words = word_hashes(text)
    files: dict[int, int] = {}
    inside = np.zeros(len(words), dtype=np.bool_)
    for length, runs in known.items():
        if length > len(words):
            continue
        found = hash_runs(words, length=length)
        places = np.minimum(np.searchsorted(runs.hashes, found), len(runs.hashes) - 1)
        hits = np.flatnonzero(runs.hashes[places] == found)
        for start in hits:
            inside[start : start + length] = True
        for file in runs.files[np.isin(runs.hashes, found[hits])] if len(hits) else ():
            files[int(file)] = files.get(int(file), 0) + 1
    return Overlap(files, inside)


def cut(text: str, inside: np.ndarray) -> str:
    """The text without the lines that hold any of these words. Lines are paragraphs, so no sentence is left halved."""
    lines = text.split("\n")
    ends = np.cumsum([len(word_hashes(line)) for line in lines])
    assert ends[-1] == len(inside), "a word goes over the end of a line"
    starts = np.concatenate([[0], ends[:-1]])
    kept = [line for line, start, end in zip(lines, starts, ends, strict=True) if not inside[start:end].any()]
    return "\n".join(kept).strip("\n")


@functools.cache
def load_runs(folder: Path) -> dict[int, Runs]:
    """The runs that `write_runs` left, mapped, by their length in words. Once in a process."""
    words, hashes, files = (np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _RUN.names or ())
    lengths, starts = np.unique(words, return_index=True)
    parts = zip(np.split(hashes, starts[1:]), np.split(files, starts[1:]), strict=True)
    return {int(length): Runs(*part) for length, part in zip(lengths, parts, strict=True)}


def write_runs(part: Part, options: CorpusOptions) -> Evaluation:
    """Number the runs of all evaluation files.

    Raises:
        InputError: no file there, one that holds no texts (names the file and the line), or no text is long enough.
    """
    assert options.decontaminate is not None
    parts: list[np.ndarray] = []
    files: list[EvaluationFile] = []
    for number, path in enumerate(_files(options.decontaminate)):
        runs, texts, too_short = _runs_of(path, number, options)
        parts.append(runs)
        files.append(EvaluationFile(path.name, texts, too_short, len(runs)))
        if not len(runs):
            say(f"none of the {texts} texts of {path} has {options.decontaminate_least_words} words, so none is looked for")
    out = part.scratch / RUNS
    out.mkdir(exist_ok=True)
    together = np.unique(np.concatenate(parts))
    if not len(together):
        raise InputError(
            f"{options.decontaminate} has nothing to look for: lower decontaminate_least_words, or leave it out"
        )
    for name in _RUN.names or ():
        np.save(out / "draft.npy", np.ascontiguousarray(together[name]), allow_pickle=False)
        (out / "draft.npy").replace(out / f"{name}.npy")  # Slurm's jobs may have the one that is there mapped
    return Evaluation(out, tuple(files))


def _files(source: Path) -> list[Path]:
    """One file, or those of a folder. What cannot be read is refused: an evaluation must not be left out in silence."""
    files = [source] if source.is_file() else sorted(path for path in source.iterdir() if not path.name.startswith("."))
    for path in files:
        if not path.is_file() or path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path} is no evaluation set: give files that end in {', '.join(SUFFIXES)}, and nothing else")
    if not files:
        raise InputError(f"{source} is empty: put files that end in {', '.join(SUFFIXES)} there")
    return files


def _runs_of(path: Path, number: int, options: CorpusOptions) -> tuple[np.ndarray, int, int]:
    """The distinct runs of a file; how many texts it has, and how many are too short."""
    runs, texts, too_short = [np.empty(0, _RUN)], 0, 0
    for text in _texts(path):
        words = word_hashes(text)
        length = min(len(words), options.decontaminate_words)
        texts += 1
        if length < min(options.decontaminate_least_words, options.decontaminate_words):
            too_short += 1
            continue
        found = np.zeros(len(words) - length + 1, _RUN)
        found["words"], found["hash"], found["file"] = length, hash_runs(words, length=length), number
        runs.append(found)
    return np.unique(np.concatenate(runs)), texts, too_short


def _texts(path: Path) -> Iterator[str]:
    if path.suffix.lower() == ".txt":
        try:
            yield from (line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip())
        except UnicodeDecodeError:
            raise InputError(f"{path} is not UTF-8: save the file as UTF-8") from None
        return
    for where, row in read_objects(path, columns=FIELDS):
        name = next((name for name in FIELDS if row.get(name)), None)
        value = row[name] if name else None
        messages = value if isinstance(value, list) else [{"content": value}]
        texts = [one.get("content") if isinstance(one, dict) else None for one in messages]
        for text in texts or [None]:
            if not isinstance(text, str):
                raise InputError(f"{where} has no text to look for: give it one of {', '.join(FIELDS)}")
            yield text
