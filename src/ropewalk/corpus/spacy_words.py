"""Words and sentences as FineWeb counts them: those of spaCy's blank tokenizers, remembered chunk by chunk.

spaCy cuts a text at white space first, and what it makes of a chunk depends on the chunk alone. So each chunk is cut once in
a process and then looked up: the same words in a fraction of the time. There is one exception. spaCy looks for its special
cases (":-)", "Mr.", in Russian "т. е.") across single spaces too, so two neighbours of which one ends and the other begins
like such a case are cut together.

Languages are lid.176's. Those that spaCy does not know get the relative that FineWeb-2 gives them, or spaCy's tokenizer for
any language, "xx". So do five for which spaCy wants a dictionary (`DICTIONARY`). Without spaces a clause is a word.

spaCy is imported here alone, when the first text is cut: 0.9 s and 90 MB in each worker that needs it.
"""

from __future__ import annotations

import importlib
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain, pairwise
from typing import Any

import numpy as np

from ropewalk.corpus.marks import symbols

# Past this weight, each chunk's characters and 100, everything remembered is forgotten: 150,000 chunks, about 50 MB.
MOST_WEIGHT = 16_000_000
MOST_LANGUAGES = 8
# spaCy takes quadratic time for a run of marks: 0.4 s for 1,000 equal signs, 69 s for 16,000. It makes a word of each of
# them, so that a longer run may as well be cut beforehand.
_LONG_RUN = re.compile(r"((?:[^\w\s]|_){200})(?=[^\w\s]|_)")
_RUN = re.compile(r"\S+|\s+")
_PLAIN = re.compile(
    r"""
    (["“‘'([{`*<]{,3})
    (
        [A-Za-z]{2,} (?:[-_][A-Za-z]{2,})* [0-9]*    # words
        | [A-Za-z]{2,} (?:[/=][A-Za-z]{2,})+         # either/or, name=value
        | [a-z]{2,} (?:(?:\.|_+)[a-z]{2,})* [0-9]* (?:\([A-Za-z]+(?:_+[A-Za-z]+)*)?    # os.path, print(what
        | --? [a-z]{2,} (?:-[a-z]{2,})*              # --options
        | [0-9]+ (?:[.,][0-9]+)*
    )
    ('s|’s)?
    ([,:;!?)"”’'\]}`*([{>]{,5})
    (\.?)
    """,
    re.ASCII | re.VERBOSE,
)
_INFIX = re.compile("(?<=[A-Za-z])([-/=])(?=[A-Za-z])")
_CLOSING = frozenset('")]}')
DICTIONARY = ("ja", "ko", "th", "vi", "zh")
UNSPACED = ("bo", "ja", "km", "lo", "my", "th", "wuu", "yue", "zh")
_RELATIVES = {
    "ar": "arz",
    "de": "als bar",
    "en": "frr fy sco",
    "es": "an ast co mwl oc sc",
    "fa": "azb",
    "fi": "vep",
    "fr": "rm wa",
    "it": "nap scn",
    "lb": "pfl",
    "lij": "lmo pms vec",
    "ms": "ilo jv mg min pam su",
    "nb": "nn no",
    "nl": "li nds vls",
    "ru": "rue",
    "sr": "bs sh",
    "tl": "bcl ceb war",
    "tn": "sw",
    "tr": "tk",
    "tt": "ba",
}
_STAND_INS = {code: name for name, codes in _RELATIVES.items() for code in codes.split()} | dict.fromkeys(DICTIONARY, "xx")
BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(BASE, -1, 2**64)
_WORD, _PUNCTUATION, _END = range(3)


@dataclass(frozen=True)
class Words:
    """The words of a text. numbers: int64 (N,), equal for equal words; `table` knows more of each."""

    numbers: np.ndarray
    table: WordTable

    def __len__(self) -> int:
        return len(self.numbers)

    def strings(self) -> list[str]:
        """The words themselves."""
        known = list(self.table.numbers)
        return [known[number] for number in self.numbers.tolist()]

    def occurring(self, words: Iterable[str]) -> int:
        """How many of `words` occur, spelled just so."""
        wanted = [self.table.numbers[word] for word in set(words) if word in self.table.numbers]
        return int(np.isin(wanted, self.numbers).sum())


class WordTable:
    """Every word met so far, numbered in that order, with what the rules ask of it in arrays by number.

    polynomials: sum of (c[k] + 1) * BASE**k over the characters c of a word, modulo 2**64. shifts, shifts_back: BASE**n,
    BASE**-n for its n characters. With them strings are hashed without joining them.
    """

    def __init__(self, sentence_marks: frozenset[str]) -> None:
        self.numbers = _Numbers()
        self.kinds: list[int] = []
        self.characters = np.zeros(1024, np.int64)
        self.is_symbol = np.zeros(1024, bool)
        self.has_letter = np.zeros(1024, bool)
        self.polynomials = np.zeros(1024, np.uint64)
        self.shifts = np.zeros(1024, np.uint64)
        self.shifts_back = np.zeros(1024, np.uint64)
        self._sentence_marks = sentence_marks

    def describe(self) -> None:
        """Fill in what the rules ask of the words that were numbered since the last time."""
        words, self.numbers.new = self.numbers.new, []
        if not words:
            return
        first, end = len(self.kinds), len(self.numbers)
        if end > len(self.characters):
            for name in ("characters", "is_symbol", "has_letter", "polynomials", "shifts", "shifts_back"):
                array = getattr(self, name)
                setattr(self, name, np.concatenate([array, np.zeros(end, array.dtype)]))
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        self.characters[first:end] = lengths
        self.polynomials[first:end] = _polynomials(words, lengths)
        self.shifts[first:end] = _powers(BASE, int(lengths.max()))[lengths]
        self.shifts_back[first:end] = _powers(_INVERSE, int(lengths.max()))[lengths]
        self.has_letter[first:end] = True
        self.kinds += [_WORD] * len(words)
        for number, word in enumerate(words, first):
            if not word.isalpha():
                self._describe_odd(number, word)

    def _describe_odd(self, number: int, word: str) -> None:
        """A word that is not all letters."""
        self.has_letter[number] = any(map(str.isalpha, word))
        self.is_symbol[number] = symbols().issuperset(word)
        punctuation = all(unicodedata.category(character)[0] == "P" for character in word)
        self.kinds[number] = _END if word in self._sentence_marks else _PUNCTUATION if punctuation else _WORD


class _Numbers(dict[str, int]):
    """Numbers of words: `numbers[word]` is the next one if the word is new, which is then among `new`."""

    def __init__(self) -> None:
        self.new: list[str] = []

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        self.new.append(word)
        return number


def _polynomials(words: list[str], lengths: np.ndarray) -> np.ndarray:
    """Of each word, none of them empty."""
    codes = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64) + np.uint64(1)
    starts = np.cumsum(lengths) - lengths
    within = np.arange(len(codes)) - np.repeat(starts, lengths)
    return np.add.reduceat(codes * _powers(BASE, int(lengths.max()))[within], starts)


def _powers(base: int, most: int) -> np.ndarray:
    """base**0 ... base**most, modulo 2**64."""
    return np.cumprod(np.array([1] + [base] * most, np.uint64), dtype=np.uint64)


class Splitter:
    """Cuts texts of one language into words and sentences."""

    def __init__(self, nlp: Any, sentence_marks: frozenset[str]) -> None:
        self._nlp = nlp
        self._sentence_marks = sentence_marks
        self._before = _special_pairs(nlp)
        self._cases = frozenset(nlp.tokenizer.rules)
        pairs = chain.from_iterable(self._before.values())
        self._case_pairs = frozenset((first, second) for second, firsts in pairs for first in firsts)
        self.forget()

    def forget(self) -> None:
        """Start anew. Words given out before keep what was known of them."""
        self._weight = 0
        self._table = WordTable(self._sentence_marks)
        self._numbers: dict[str, tuple[int, ...]] = {}
        self._heads: dict[str, tuple[str, ...]] = {}  # chunks that may go on with a special case, and what it begins with

    def words(self, text: str) -> Words:
        """The words of a text, white space left out."""
        if self._weight > MOST_WEIGHT:
            self.forget()
        chunks = text.split()
        self._learn(chunks)
        heads = self._heads
        if not heads.keys().isdisjoint(chunks) and any(
            second in heads and first.endswith(heads[second]) for first, second in pairwise(chunks)
        ):
            chunks = self._joined(text)
            self._learn(chunks)
        return Words(np.fromiter(chain.from_iterable(map(self._numbers.__getitem__, chunks)), np.int64), self._table)

    def count_sentences(self, line: str, *, enough: int) -> int:
        """How many sentences spaCy's sentencizer finds in a line, counted up to `enough`. An empty line is one.

        A sentence ends with a mark such as . ? ! that is a word by itself, and with all marks and punctuation behind it.
        White space other than a single space is a word too, and begins a sentence.
        """
        self._learn(line.split())
        kinds = self._table.kinds
        sentences, ended = 1, False
        for run in self._runs(line):
            for kind in (_WORD,) if run.isspace() else [kinds[number] for number in self._known(run)]:
                if kind == _END:
                    ended = True
                elif ended and kind == _WORD:
                    sentences += 1
                    ended = False
            if sentences >= enough:
                break
        return sentences

    def _joined(self, text: str) -> list[str]:
        """Chunks, those joined that must be cut together: neighbours across one space, and no other white space."""
        heads = self._heads
        found: list[str] = []
        beside = False
        for piece in text.split(" "):
            chunks = piece.split()
            if not chunks:
                beside = False
                continue
            if beside and chunks[0] in heads and not piece[0].isspace() and found[-1].endswith(heads[chunks[0]]):
                chunks[0] = f"{found.pop()} {chunks[0]}"
            found += chunks
            beside = not piece[-1].isspace()
        return found

    def _runs(self, text: str) -> Iterator[str]:
        """The same, one after the other, and the white space between them, less the space that begins it."""
        chunk = gap = ""
        for found in _RUN.finditer(text):
            run = found[0]
            if run.isspace():
                gap = run
            elif gap == " " and run in self._heads and chunk.endswith(self._heads[run]):
                chunk, gap = f"{chunk} {run}", ""
            else:
                yield from filter(None, (chunk, gap.removeprefix(" ") if chunk else gap))
                chunk, gap = run, ""
        yield from filter(None, (chunk, gap.removeprefix(" ") if chunk else gap))

    def _known(self, chunk: str) -> tuple[int, ...]:
        if chunk not in self._numbers:
            self._learn([chunk])
        return self._numbers[chunk]

    def _learn(self, chunks: list[str]) -> None:
        """Cut the chunks that are new, all at once."""
        fresh = set(chunks).difference(self._numbers)
        if not fresh:
            return
        plain = {chunk: words for chunk in fresh if (words := self._plain(chunk))} if self._nlp.lang == "en" else {}
        fresh = sorted(fresh.difference(plain))
        for chunk, words in chain(plain.items(), zip(fresh, self._cut(fresh), strict=True)):
            self._numbers[chunk] = tuple(map(self._table.numbers.__getitem__, words))
            self._weight += len(chunk) + 100
            before = [firsts for second, firsts in self._before.get(chunk[0], ()) if _begins_with(chunk, second)]
            if before:
                self._heads[chunk] = tuple(chain.from_iterable(before))
        self._table.describe()

    def _cut(self, chunks: list[str]) -> list[list[str]]:
        """What spaCy makes of each chunk. A line end parts them, a tab the pieces of one: neither can stand in a chunk."""
        text = "\n".join(_LONG_RUN.sub("\\1\t", chunk) if len(chunk) > 200 else chunk for chunk in chunks)
        with self._nlp.memory_zone():  # without it spaCy's own store of strings grows for ever
            words = [token.text for token in self._nlp.tokenizer(text)]
        cut: list[list[str]] = [[]] if chunks else []
        for word in words:
            if word == "\n":
                cut.append([])
            elif word != "\t":
                cut[-1].append(word)
        return cut

    def _plain(self, chunk: str) -> list[str] | None:
        """What spaCy makes of most English chunks, at a fifth of the price: words, names and numbers, with marks around.

        None where it may be otherwise: two neighbours stand so in a special case, or what is left when a mark goes is one.
        """
        if chunk.isalpha() and chunk.isascii():
            return None if chunk in self._cases else [chunk]
        found = _PLAIN.fullmatch(chunk)
        if found is None:
            return None
        before, word, ending, after, stop = found.groups(default="")
        if stop and not _ends_before_a_stop(chunk):
            return None
        marks = after + stop
        whole = word + ending
        left = (before[first:] + whole + marks[:last] for first in range(len(before) + 1) for last in range(len(marks) + 1))
        parts = _INFIX.split(word)
        if not (self._cases.isdisjoint(left) and self._cases.isdisjoint(parts)):
            return None
        words = [*before, *parts, *filter(None, (ending,)), *marks]
        return words if self._case_pairs.isdisjoint(pairwise(words)) else None


def _ends_before_a_stop(chunk: str) -> bool:
    """Whether the full stop at a chunk's end is a word by itself, and not an abbreviation's."""
    last = chunk[-2]
    return last.islower() or last.isdigit() or last in _CLOSING or (len(chunk) > 3 and chunk[-3:-1].isupper())


def _begins_with(chunk: str, word: str) -> bool:
    """Whether a chunk's first word may be `word`: no tokenizer parts two letters or two digits."""
    if not chunk.startswith(word):
        return False
    last, after = chunk[len(word) - 1], chunk[len(word) : len(word) + 1]
    return not ((last.isalpha() and after.isalpha()) or (last.isdigit() and after.isdigit()))


@cache
def _spacy() -> Any:
    """spaCy, imported without torch: thinc below it would load that for models we have none of, 2 s and 190 MB a worker."""
    if "torch" in sys.modules:
        return importlib.import_module("spacy")
    sys.modules["torch"] = None  # pyright: ignore[reportArgumentType]  # "import torch" fails, and thinc goes on without
    try:
        return importlib.import_module("spacy")
    finally:
        del sys.modules["torch"]


def splitter(language: str) -> Splitter:
    """The splitter for a language of lid.176, made once in a process."""
    return _splitter(_tokenizer_name(language))


@lru_cache(maxsize=256)
def _tokenizer_name(language: str) -> str:
    name = _STAND_INS.get(language, language)
    try:
        _spacy().util.get_lang_class(name)
    except ImportError:
        return "xx"
    return name


@lru_cache(maxsize=MOST_LANGUAGES)
def _splitter(name: str) -> Splitter:
    nlp = _spacy().blank(name)
    # What spaCy would otherwise note of every word takes a third of its time.
    nlp.vocab.lex_attr_getters = {}  # pyright: ignore[reportAttributeAccessIssue]
    return Splitter(nlp, frozenset(_spacy().pipeline.Sentencizer.default_punct_chars))


def _special_pairs(nlp: Any) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    """Words that stand second or later in a special case, by first character, each with the words that stand before it."""
    own = nlp.tokenizer
    parts = ("prefix_search", "suffix_search", "infix_finditer", "token_match", "url_match")
    plain = type(own)(nlp.vocab, rules=None, **{part: getattr(own, part) for part in parts})
    before: dict[str, set[str]] = {}
    for case in own.rules:
        for first, second in pairwise(token.text for token in plain(case)):
            before.setdefault(second, set()).add(first)
    pairs: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for second, firsts in sorted(before.items()):
        pairs.setdefault(second[0], []).append((second, tuple(sorted(firsts))))
    return pairs
