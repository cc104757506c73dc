"""Evidence: right statements find the sentence that makes them, wrong ones find nothing."""

from __future__ import annotations

import re

import pytest

from ropewalk.trace.sentences import sentences
from ropewalk.trace.words import STOP_WORDS, names, query


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("The capital of France is Paris.", "Paris is the capital of France."),
        ("France's capital? It is called Paris!", "Paris is the capital of France."),
        ("About 67.4 million people live in France.", "Some 67.4 million people live in France."),
        ("The area of France is 551,695 square kilometres", "The area of France is 551,695 square kilometres."),
        ("France has the calling code +33.", "The calling code of France is +33."),
        ("Web sites of France end in .fr", None),
        ("The currency of France is the Euro.", "France's currency is the euro."),
        ("Iceland's capital is Reykjavik.", "The capital of Iceland is Reykjavík."),
        ("Iceland's capital is Reykjavi\u0301k.", "The capital of Iceland is Reykjavík."),
        ("The internet domain of Iceland is .is.", "The internet domain of Iceland is .is."),
        ("Tonga's internet domain: “.to”", "The internet domain of Tonga is .to."),
        ("Iceland isn't in the European Union", "Iceland isn't in the European Union."),
        ("The capital of Tonga is Nuku'alofa.", "Nuku'alofa is the capital of Tonga."),
        ("Die Straße NACH İzmir ist lang", "Die Straße nach İzmir ist LANG."),
        ("They pay with the U.S. dollar!", "They pay with the U.S. dollar."),
    ],
)  # fmt: skip
def test_a_right_statement_finds_its_sentence(facts, said, sentence):
    found = facts.evidence(said)
    if sentence is None:  # the page says "its", and a sentence stands for itself
        assert found == []
        return
    assert [evidence.sentence for evidence in found] == [sentence]
    page = facts.page(found[0].page_id)
    assert (page.url, page.title) == (found[0].url, found[0].title)
    assert page.text[found[0].start : found[0].end] == sentence


@pytest.mark.parametrize(
    "said",
    [
        "The capital of France is Reykjavík.",
        "Some 4 million people live in France.",
        "Some 67 million people live in France.",
        "Some 67.4 thousand people live in France.",
        "The area of France is 551 square kilometres",
        "The area of France is 695 square kilometres",
        "The calling code of Tonga is +67.",
        "The calling code of France is +336.",
        "The internet domain of Tonga is .is.",
        "The internet domain of Iceland is .to.",
        "Iceland is not in the European Union",
        "Paris isn't the capital of France",
        "The capital of Atlantis is Paris.",
    ],
)
def test_a_wrong_statement_finds_nothing(facts, said):
    assert facts.evidence(said) == []


@pytest.mark.parametrize(
    "said",
    [
        "",
        " \n",
        "\x00",
        "the of is",
        "What is it?",
        "!!! ... ---",
        "\ud800",
        "—",
        "'" * 1_000,
        '"' * 1_000,
        "²½",
        "x" * 100_000,
    ],
)
def test_nothing_said_finds_nothing(facts, said):
    assert facts.evidence(said) == []


@pytest.mark.parametrize(
    "said",
    [
        'Paris" capital "of" France',
        "Paris AND capital AND France",
        "Paris OR capital NOT France NEAR(Paris France)",
        "sentence: Paris * ^capital {France}",
        "Paris\x00capital\x00France",
        "words MATCH 'Paris'; DROP TABLE pages; -- capital France",
        "Paris*",
        "-Paris +capital (France",
        "c" * 100_000 + " Paris capital France",
        "Paris capital France " * 5_000,
    ],
)
def test_hostile_text_is_only_text(facts, said):
    for evidence in facts.evidence(said):
        assert evidence.sentence == "Paris is the capital of France."
    assert facts.evidence("The capital of France is Paris.")


def test_a_hundred_kilobytes_of_different_words_find_nothing(facts):
    assert facts.evidence(" ".join(f"word{number}" for number in range(10_000))) == []
    assert facts.evidence(" ".join(f"word{number}" for number in range(499))) == []


def test_signs_of_every_script_are_safe(index):
    for first in range(0, 0x30000, 64):
        text = "".join(map(chr, range(first, first + 64)))
        assert index.evidence(text + " zebrawood") == []
        index.evidence(text[:3])


def test_a_term_that_is_no_word_to_the_full_text_table_finds_nothing(facts):
    """SQLite knows fewer letters than Python. Such a term must not drop out of the question."""
    terms = [chr(code) for code in range(0x80, 0x30000, 37) if query(chr(code)) is not None]
    assert len(terms) > 1_000
    assert not [term for term in terms if facts.evidence(f"Paris France {term}")]


def test_best_first_then_in_page_order(index, training):
    """Where the word stands once, bm25 puts the shorter sentence first."""
    order = {row["page_id"]: number for number, row in enumerate(training)}
    found = index.evidence("expression", limit=100)
    assert found == index.evidence("expression", limit=100)
    assert index.evidence("expression", limit=3) == found[:3]
    words = [re.findall(r"[^\W_]+", evidence.sentence.lower()) for evidence in found]
    once = [number for number, said in enumerate(words) if sum(word.startswith("express") for word in said) == 1]
    assert len(once) > 30
    places = [(len(words[number]), order[found[number].page_id], found[number].start) for number in once]
    assert places == sorted(places)


def test_every_sentence_of_a_page_supports_itself(index, training):
    asked = 0
    for row in training[::4]:
        for start, end in list(sentences(row["text"]))[::5]:
            said = row["text"][start:end]
            if query(said) is None:
                continue
            found = index.evidence(said, limit=1_000)
            assert said in [evidence.sentence for evidence in found], said
            asked += 1
    assert asked > 100


def test_names_that_are_no_stop_words():
    for name in ("niger", "chad", "male", "no", "not", "most", "un", "us-east", "t"):
        assert name not in STOP_WORDS


def test_the_names_of_the_question_must_stand_there_too(facts):
    said = "The capital of France is Paris."
    assert facts.evidence(said, about="What is the capital of France?")
    assert facts.evidence(said, about="Tell me the capital of France, please.")
    assert facts.evidence(said, about="What is the capital of Tonga?") == []
    assert facts.evidence("I", about="What is the capital of France?") == []


def test_names_are_capitalised_words_within_a_sentence():
    assert names("Tell me the capital of Antigua & Barbuda, please. Which is it?") == ["Antigua", "Barbuda"]
    assert names("In which country is New York City?") == ["New", "York", "City"]
    assert names("capital of nothing") == names("") == []
