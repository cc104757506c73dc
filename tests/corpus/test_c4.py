from dataclasses import replace
from pathlib import Path

import pytest

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.c4 import measures, rewrite
from ropewalk.corpus.measure import first_failure
from ropewalk.corpus.rules import apply_rules
from ropewalk.corpus.spacy_words import splitter

OPTIONS = CorpusOptions(pages=Path("unused"), rules="fineweb")
SENTENCES = "The sea is wide. The coast is long. The rope is old. The mast is high. The tide is low."


def failure_of(text: str, options: CorpusOptions = OPTIONS) -> tuple[str, float, float] | None:
    failure = first_failure(measures(rewrite(text, options), splitter("en"), options))
    return None if failure is None else (failure.rule, failure.value, failure.threshold)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Home\n\nTwo words\nThree whole words", "Three whole words"),
        ("  The  sea \n\n is wide and deep.  ", "is wide and deep."),
        ("It rises in the hills [12] and ends.[edit]", "It rises in the hills  and ends."),
        ("The sea is wide. [citation needed]\n[1] [2] [3]\nIt is deep.", "The sea is wide. \n  \nIt is deep."),
        ("Please enable JavaScript to go on.\nThe sea is wide.", "The sea is wide."),
        ("Read our Privacy Policy before you sail.\nThis site uses cookies and rope.\nThe sea is wide.", "The sea is wide."),
        (f"A word {'x' * 1001} of no use.\nA word {'x' * 1000} of use.", f"A word {'x' * 1000} of use."),
    ],
)
def test_lines_and_citations_are_taken_out(text, left):
    assert rewrite(text, OPTIONS).text == left


def test_published_c4_takes_out_lines_without_punctuation_at_their_end():
    text = f'A heading of words\n{SENTENCES}\nAnd so it goes on...\nShe said "Go on now"'
    published = replace(OPTIONS, rules="c4")
    assert rewrite(text, published).text == f'{SENTENCES}\nShe said "Go on now"'
    assert rewrite(text, OPTIONS).text == text == rewrite(text, replace(published, c4_terminal_punctuation=False)).text
    assert apply_rules(text, "en", published) == (f'{SENTENCES}\nShe said "Go on now"', None)


def test_what_drops_a_page():
    assert failure_of(SENTENCES) is None
    assert failure_of(f"{SENTENCES}\nHere is Lorem Ipsum to fill it.") == ("c4_max_lorem_ipsum", 1, 0)
    assert failure_of(f"{SENTENCES}\nWrite {{name}} and {{age}} here.") == ("c4_max_curly_brackets", 2, 0)
    assert failure_of(SENTENCES.replace("The tide is low.", "")) == ("c4_min_sentences", 4, 5)
    # What stands on a line that is too short to be looked at does not count.
    assert failure_of(f"{SENTENCES}\n{{ name }}\nlorem ipsum") == ("c4_max_curly_brackets", 1, 0)
    assert failure_of(f"{SENTENCES}\n{{\nlorem ipsum") is None


def test_thresholds_are_options():
    loose = replace(OPTIONS, c4_max_curly_brackets=2, c4_max_lorem_ipsum=1, c4_min_sentences=0, c4_min_line_words=1)
    assert failure_of("{ { lorem ipsum", loose) is None
    assert rewrite("One\n\nword", loose).text == "One\nword"
    assert rewrite("a long-word here", replace(OPTIONS, c4_max_word_characters=8)).text == ""


def test_a_page_without_a_line_left_is_dropped():
    """Five lines of citations are five sentences, for FineWeb and so for us."""
    citations = "[1] [2] [3]\n" * 5
    assert rewrite(citations, OPTIONS).text == "" and failure_of(citations) is None
    failure = apply_rules(citations, "en", replace(OPTIONS, rules="c4", c4_terminal_punctuation=False))[1]
    assert failure is not None and failure.rule == "empty"


def test_the_first_fault_in_the_text_counts():
    assert failure_of("One is { here.\nHere is lorem ipsum too.") == ("c4_max_curly_brackets", 1, 0)
    assert failure_of("Here is lorem ipsum too.\nOne is { here.") == ("c4_max_lorem_ipsum", 1, 0)
