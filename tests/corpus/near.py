"""Texts beside the threshold of one rule: the last that it lets pass, and the first that it drops.

Each rule has a recipe: a page that grows worse, by that rule, with an amount. The amount is searched for at which our own
measure crosses the threshold. Whether the peer's crosses there too is what the test asks.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ropewalk.corpus import CorpusOptions, c4, fineweb, quality, repetition
from ropewalk.corpus.measure import Measure
from ropewalk.corpus.spacy_words import splitter

OPTIONS = CorpusOptions(pages=Path("unused"), rules="fineweb")
VARIANTS = {
    "quality_300": replace(OPTIONS, max_words=300),  # 100,000 words take the peer seconds
    "c4_paper": replace(OPTIONS, rules="c4"),
    "fineweb_paper": replace(OPTIONS, rules="fineweb-paper"),
}
FILTERS = ("repetition", "quality", "c4", "fineweb", *VARIANTS)


def measures(text: str, name: str) -> Iterator[Measure]:
    """All that one of the peer's filters asks of a text, what stands behind a failure included."""
    options, cutter = VARIANTS.get(name, OPTIONS), splitter("en")
    kind = name.partition("_")[0]
    if kind == "c4":
        return c4.measures(c4.rewrite(text, options), cutter, options)
    if kind == "fineweb":
        return fineweb.measures(text, cutter, options)
    return (repetition if kind == "repetition" else quality).measures(text, cutter.words(text), options)


@dataclass(frozen=True)
class Say:
    """Says real words, hardly two sentences alike."""

    chance: random.Random
    vocabulary: list[str]

    def word(self) -> str:
        return self.chance.choice(self.vocabulary)

    def words(self, count: int) -> str:
        return " ".join(self.word() for _ in range(count))

    def sentence(self) -> str:
        return f"The {self.words(self.chance.randint(4, 7))} of the {self.word()}."

    def sentences(self, least: int) -> list[str]:
        return [self.sentence() for _ in range(self.chance.randint(least, 2 * least))]

    def letters(self, count: int) -> str:
        return "".join(self.chance.choices("abcdefghijklmnopqrstuvwxyz", k=count))


Page = Callable[[int], str]


def copies(joint: str) -> Callable[[Say], Page]:
    """Pieces of text, a short one as often again as the amount says."""

    def page(say: Say) -> Page:
        pieces, again = say.sentences(16), say.word()
        return lambda amount: joint.join(
            one for at, piece in enumerate(pieces) for one in [piece, again][: 1 + (at <= amount)]
        )

    return page


def long_copy(joint: str, least: int) -> Callable[[Say], Page]:
    """Pieces of text, one of them twice, and as long as the amount says."""

    def page(say: Say) -> Page:
        pieces, again = say.sentences(least), say.letters(1_000)
        return lambda amount: joint.join([pieces[0], again[: amount + 1], *pieces[1:], again[: amount + 1]])

    return page


def runs(size: int, *, often: bool) -> Callable[[Say], Page]:
    """Prose, and runs of `size` words between other words: one run often, or many twice each."""

    def page(say: Say) -> Page:
        prose = say.sentences(8 if often else 4 * size)
        strewn = [say.words(size)] * 200 if often else [run for _ in range(100) for run in [say.words(size)] * 2]
        parted = [f"{run} {say.letters(7)}" for run in strewn]
        return lambda amount: " ".join([*prose, *parted[: amount if often else 2 * amount]])

    return page


def added(*additions: str) -> Callable[[Say], Page]:
    """The same thing as often as the amount says, and prose."""

    def page(say: Say) -> Page:
        prose, addition = " ".join(say.sentences(8)), say.chance.choice(additions)
        return lambda amount: addition * amount + prose

    return page


def lines(spoil: Callable[[str], str]) -> Callable[[Say], Page]:
    """Lines of prose, as many of them spoilt."""

    def page(say: Say) -> Page:
        good = [say.sentence() for _ in range(say.chance.randint(20, 40))]
        return lambda amount: "\n".join([*map(spoil, good[:amount]), *good[amount:]])

    return page


def fewer_words(say: Say) -> Page:
    return lambda amount: "The end of the ( " + " ".join(("word" + say.letters(3),) * max(0, 70 - amount)) + " ) ."


def more_words(say: Say) -> Page:
    prose = " ".join(say.sentences(8))
    return lambda amount: f"{prose} - {'words ' * amount}."


def spelled(choice: Callable[[Say], str]) -> Callable[[Say], Page]:
    """Prose, and as many words of a kind."""

    def page(say: Say) -> Page:
        prose, others = say.sentences(8), [choice(say) for _ in range(600)]
        return lambda amount: " ".join([*prose, *others[:amount]])

    return page


def fewer_stop_words(say: Say) -> Page:
    plain = " ".join("word" + say.letters(4) for _ in range(80))
    kept = say.chance.sample(OPTIONS.stop_words, 3)
    return lambda amount: f"The {plain} Of {' '.join(kept[amount:])}."


def fewer_sentences(say: Say) -> Page:
    prose = say.sentences(6)
    joint = say.chance.choice([" ", "\n", '" ', "?! "])
    return lambda amount: joint.join([*prose[amount:], "Mr. Bell came at 5 p.m. (so they say)"])


def said(bad: str) -> Callable[[Say], Page]:
    """A page that says something bad where nobody looks, on a short line, behind "javascript"; and then on a good one."""

    def page(say: Say) -> Page:
        prose = "\n".join(say.sentences(6))
        behind = f"JavaScript says {bad} too" if bad == "{" else "a line"
        return lambda amount: f"{prose}\n{bad}\n{behind}\n" + (f"{say.word()} {bad} and more" if amount else "")

    return page


def blank_lines(say: Say) -> Page:
    prose = say.sentences(10)
    return lambda amount: "\n".join(prose[:5]) + "\n" * amount + "\n".join(prose[5:])


RECIPES: Mapping[tuple[str, str], Callable[[Say], Page]] = {
    ("repetition", "gopher_duplicate_paragraphs"): copies("\n\n"),
    ("repetition", "gopher_duplicate_paragraph_characters"): long_copy("\n\n", 10),
    ("repetition", "gopher_duplicate_lines"): copies("\n"),
    ("repetition", "gopher_duplicate_line_characters"): long_copy("\n", 10),
    **{("repetition", f"gopher_top_{size}_gram"): runs(size, often=True) for size in range(2, 5)},
    **{("repetition", f"gopher_duplicate_{size}_grams"): runs(size, often=False) for size in range(5, 11)},
    ("quality", "gopher_min_words"): fewer_words,
    ("quality_300", "gopher_max_words"): more_words,
    ("quality", "gopher_min_mean_word_characters"): spelled(lambda say: say.chance.choice(["a", "I", "of", "so", "x"])),
    ("quality", "gopher_max_mean_word_characters"): spelled(lambda say: say.letters(say.chance.randint(11, 30))),
    ("quality", "gopher_hash_signs"): added("# ", "#", "C# "),
    ("quality", "gopher_ellipses"): added("... ", "… ", "so... ", "it…goes "),
    ("quality", "gopher_bullet_lines"): lines(lambda line: "  • " + line),
    ("quality", "gopher_ellipsis_lines"): lines(lambda line: line[:-1] + "... "),
    ("quality", "gopher_alphabetic_words"): spelled(lambda say: say.chance.choice(["1984", "3.14159", "--", "(", "2,000"])),
    ("quality", "gopher_stop_words"): fewer_stop_words,
    ("c4", "c4_min_sentences"): fewer_sentences,
    ("c4", "c4_max_lorem_ipsum"): said("Lorem ipsum"),
    ("c4", "c4_max_curly_brackets"): said("{"),
    ("fineweb", "fineweb_min_punctuated_lines"): lines(lambda line: line[:-1] + '."'),
    ("fineweb", "fineweb_max_short_lines"): lines(lambda line: line[:28] + "?"),
    ("fineweb", "fineweb_max_duplicate_characters"): long_copy("\n", 30),
    ("fineweb_paper", "fineweb_max_duplicate_characters"): long_copy("\n", 10),
    ("fineweb", "fineweb_max_line_ends_per_word"): blank_lines,
}


def beside(page: Page, name: str, rule: str) -> tuple[str, str]:
    """The page at the greatest amount that the rule lets pass, and at the next one, which it drops."""

    def breaks(amount: int) -> bool:
        return any(measure.rule == rule and not measure.passes for measure in measures(page(amount), name))

    low, high = 0, 1
    assert not breaks(0), (name, rule)
    while not breaks(high):
        low, high = high, 2 * high
        assert high < 5_000, (name, rule)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if breaks(middle) else (middle, high)
    return page(low), page(high)


def odd_lines(chance: random.Random, prose: list[str]) -> str:
    """Prose among lines of which C4's rules take some out, some citations, and some nothing."""
    odd = [
        "Two words",
        "Three whole words",
        f"A word {'x' * 1_000} of 1,000",
        f"A word {'x' * 1_001} of 1,001",
        "Please enable JavaScript now",
        "Read our Privacy Policy before",
        "we use cookies of oats",
        "The cookie policies of grandmothers.",
        "It rises in the hills [12] and ends.[edit]",
        "So they say [citation needed]",
        "[1] [2] [3]",
        "[1][] and [a] stay",
        "A form feed\x0cparts this line. And\x0b this. And\x85 this\u2028 one.",
        "\t  spaces  around\xa0 and\u3000between.  ",
        "So it goes on...",
        'She said "so"',
    ]
    return "\n".join(chance.choice([*odd, "", *prose]) for _ in range(30))
