from dataclasses import replace
from pathlib import Path

import pytest
from tests.corpus.short_pages import PAGES

from ropewalk.corpus import CorpusOptions, c4, fineweb
from ropewalk.corpus.extract import extract
from ropewalk.corpus.measure import first_failure
from ropewalk.corpus.rules import apply_rules
from ropewalk.corpus.spacy_words import splitter
from ropewalk.corpus.words import split_words

OPTIONS = CorpusOptions(pages=Path("unused"), rules="fineweb")
PUNCTUATED = {"fineweb_min_punctuated_lines": 0.0}


def measured(text: str) -> dict[str, float]:
    return {measure.rule: measure.value for measure in fineweb.measures(text, splitter("en"), OPTIONS)}


@pytest.mark.parametrize(
    ("text", "rule", "value"),
    [
        ("One.\nTwo\nThree!\n'Four.'\n五。", "fineweb_min_punctuated_lines", 3 / 5),
        (f"{'x' * 30}\n{'x' * 31}\n\nx", "fineweb_max_short_lines", 2 / 3),
        ("aaa\nb\naaa\naaa", "fineweb_max_duplicate_characters", 6 / 10),
        ("one two,\n\nthree\nfour", "fineweb_max_line_ends_per_word", 3 / 5),
        ("\n \n", "empty", 0),
        ("...", "fineweb_max_line_ends_per_word", 0),
    ],
)
def test_known_measures(text, rule, value):
    assert measured(text)[rule] == pytest.approx(value)


def test_the_rules_are_asked_in_fineweb_s_order_and_text_is_rewritten(prose):
    text = prose(1)
    assert "\n\n" in text
    rewritten, failure = apply_rules(text, "en", OPTIONS)
    assert failure is None and rewritten == text.replace("\n\n", "\n")
    assert apply_rules(text, "en", replace(OPTIONS, rules="gopher")) == (text, None)
    short = "\n".join(f"Rope number {number}." for number in range(26))
    broken = {
        "gopher_top_2_gram": "Too few. {",
        "c4_max_curly_brackets": f"{text}\n\nAnd {{brackets}} here.",
        "fineweb_min_punctuated_lines": text.replace(".\n", "\n").removesuffix("."),
        "fineweb_max_short_lines": f"{text}\n{short}",
        "fineweb_max_duplicate_characters": text + "\n\n" + text.split("\n\n")[0],
    }
    for rule, page in broken.items():
        failure = apply_rules(page, "en", OPTIONS)[1]
        assert failure is not None and failure.rule == rule
    assert apply_rules(broken["gopher_top_2_gram"], "en", replace(OPTIONS, rules="none")) == ("Too few. {", None)


def test_only_pages_of_three_word_lines_have_too_many_line_ends():
    """C4's rules leave three words or more on a line: with its full stop as a word, even such a line is out of reach."""
    loose = replace(OPTIONS, fineweb_max_short_lines=1)
    three = "\n".join(f"{number} is short." for number in range(20))
    failure = first_failure(fineweb.measures(three.replace(".", ""), splitter("en"), replace(loose, **PUNCTUATED)))
    assert failure is not None and (failure.rule, failure.value) == ("fineweb_max_line_ends_per_word", 19 / 60)
    assert first_failure(fineweb.measures(three, splitter("en"), loose)) is None


def test_short_factual_pages():
    """What the published thresholds make of ten pages of the size and form that encyclopedias for children have.

    Seven stay. What goes does so for one line each: too few full stops, a note that stands twice, a curly bracket.
    """
    verdicts, kept = {}, {}
    for name, html in PAGES.items():
        text = extract(html, max_nesting=512).text
        assert 80 <= len(split_words(text)) <= 300
        kept[name], failure = apply_rules(text, "en", OPTIONS)
        verdicts[name] = failure and (failure.rule, round(failure.value, 2))
    assert verdicts == {
        "plain": None,
        "subheadings": None,
        "brief": ("c4_min_sentences", 3),
        "fact_table": None,
        "list_of_towns": None,
        "line_breaks": None,
        "repeated_note": ("fineweb_max_duplicate_characters", 0.04),
        "definitions": None,
        "template": ("c4_max_curly_brackets", 2),
        "fragments": None,
    }
    # Lines of one or two words go, and with them every fact that a table states so, and most headings.
    assert "Thimphu has been the capital" in kept["fact_table"]
    assert not {"Capital\t\tThimphu", "Population\t\t780,000", "Bhutan"} & set(kept["fact_table"].split("\n"))
    assert "Area\t\t38,394 square kilometres" in kept["fact_table"]
    assert "Countries and capitals" in kept["subheadings"] and "Course" not in kept["subheadings"].split("\n")


@pytest.mark.parametrize(("paragraphs", "short_lines", "stays"), [(2, 4, True), (2, 5, False), (4, 8, True), (4, 9, False)])
def test_a_paragraph_pays_for_two_short_lines(paragraphs, short_lines, stays):
    lines = [f"This is paragraph {number}, which is long enough not to be short." for number in range(paragraphs)]
    lines += [f"A line of {number} words" for number in range(short_lines)]
    page = c4.rewrite("\n".join(lines), OPTIONS).text
    assert (measured(page)["fineweb_max_short_lines"] <= OPTIONS.fineweb_max_short_lines) is stays


def test_code_and_paper_differ_in_repeated_lines(prose):
    text = prose(1, sentences=40)
    repeated = text + "\n\n" + text.split("\n\n")[0].split(". ")[0] + "."
    failure = apply_rules(repeated, "en", OPTIONS)[1]
    assert failure is None  # the repeated sentence is a part of a line, not a line
    repeated += "\n" + repeated.rpartition("\n")[2]
    failure = apply_rules(repeated, "en", OPTIONS)[1]
    assert failure is not None and (failure.rule, failure.threshold) == ("fineweb_max_duplicate_characters", 0.01)
    assert apply_rules(repeated, "en", replace(OPTIONS, rules="fineweb-paper"))[1] is None
    assert apply_rules(repeated, "en", replace(OPTIONS, fineweb_max_duplicate_characters=0.05))[1] is None
