import time
from dataclasses import replace
from pathlib import Path

import pytest

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.c4 import count_sentences, measures, rewrite
from ropewalk.corpus.quality import first_failure

OPTIONS = CorpusOptions(pages=Path("unused"), rules="fineweb")
SENTENCES = "The sea is wide. The coast is long. The rope is old. The mast is high. The tide is low."


def failure_of(text: str, options: CorpusOptions = OPTIONS) -> tuple[str, float, float] | None:
    failure = first_failure(measures(rewrite(text, options), options))
    return None if failure is None else (failure.rule, failure.value, failure.threshold)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Home\n\nTwo words\nThree whole words", "Three whole words"),
        ("  The  sea \n\n is wide and deep.  ", "is wide and deep."),
        ("It rises in the hills [12] and ends.[edit]\n[1] [2] [3]", "It rises in the hills  and ends."),
        ("The sea is wide. [citation needed]", "The sea is wide."),
        ("Please enable JavaScript to go on.\nThe sea is wide.", "The sea is wide."),
        ("Read our Privacy Policy before you sail.\nThis site uses cookies and rope.\nThe sea is wide.", "The sea is wide."),
        (f"A word {'x' * 1001} of no use.\nA word {'x' * 1000} of use.", f"A word {'x' * 1000} of use."),
    ],
)
def test_lines_and_citations_are_taken_out(text, left):
    assert rewrite(text, OPTIONS).text == left


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("", 0),
        ("A heading of words", 1),
        ("One. Two! Three?", 3),
        ("One... Two… And a rest", 3),
        ('She said: "Go." (He went.) And then', 3),
        ("It costs 3.50 here, i.e. little, at www.example.org today.", 1),
        ("Really?! Yes!!! No", 3),
        ("वह आया। वह गया।", 2),
    ],
)
def test_sentences(line, sentences):
    assert count_sentences(line) == sentences


def test_a_line_of_dots_takes_linear_time():
    started = time.process_time()
    assert count_sentences("." * 300_000 + "x") == 1
    assert time.process_time() - started < 2


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
    # A page without any line left has no place in a corpus, whatever the options.
    assert failure_of("[1]", loose) == ("c4_min_sentences", 0, 1)
    assert rewrite("a long-word here", replace(OPTIONS, c4_max_word_characters=8)).text == ""
