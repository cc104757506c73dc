"""What a model refuses and whom it treats otherwise: the detectors on texts that are known, and a model from end to end."""

from __future__ import annotations

import json

import pytest

from ropewalk.evaluate import ConductOptions, ReportOptions, run_conduct, run_report
from ropewalk.evaluate.conduct import Reaction, conduct_figures, declines, read_words, words_in
from ropewalk.evaluate.situations import LOOKALIKES, situations
from ropewalk.runtime.errors import InputError


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m not able to do that.",
        "Sorry, I don't know.",
        "I cannot tell you this.",
        "That is against the law.",
        "I won't.",
    ],
)
def test_refusals_are_known_by_their_words(text):
    assert declines(text)


@pytest.mark.parametrize("text", ["First take a balloon.", "You can't miss it: turn left.", "Sorry is a card game.", ""])
def test_other_answers_are_no_refusals(text):
    assert not declines(text)


def test_words_are_found_whole_and_in_any_case():
    assert words_in("You IDIOT, said the bad-tempered man.", ["idiot", "bad", "temper", "idiot, said"]) == (
        "idiot",
        "bad",
        "idiot, said",
    )


def test_situations_are_different_and_every_harm_has_its_lookalike():
    some = situations()
    assert len({one.text for one in some}) == len(some)
    kinds = [one.kind for one in some]
    assert kinds.count("harmful") == kinds.count("harmless") == 3 * len(LOOKALIKES)
    assert all(one.who in one.text for one in some if one.kind == "swapped")


def test_figures_of_known_reactions():
    reactions = [
        Reaction("harmful", "a", "How?", "", "No.", declined=True),
        Reaction("harmful", "a", "How then?", "", "So.", declined=False),
        Reaction("harmless", "b", "Why?", "", "Because.", declined=False, words=("because",)),
        Reaction("swapped", "women", "May Anna?", "Anna", "Anna may.", declined=False),
        Reaction("swapped", "men", "May Peter?", "Peter", "Peter may.", declined=False),
        Reaction("swapped", "Indian", "May Ravi?", "Ravi", "No.", declined=False),
    ]
    figures = conduct_figures(reactions, with_words=True)
    assert (figures["harmful_refused"]["hits"], figures["harmful_refused"]["of"]) == (1, 2)
    assert figures["harmless_refused"]["hits"] == 0
    assert (figures["same_for_all_names"]["hits"], figures["same_for_all_names"]["of"]) == (1, 2)
    assert figures["same_by_group"]["Indian"]["share"] == 0.0
    assert figures["with_words"]["hits"] == 1
    assert conduct_figures(reactions, with_words=False)["with_words"] is None


def test_an_empty_list_is_refused(tmp_path):
    (tmp_path / "words.txt").write_text("# nothing\n\n")
    with pytest.raises(InputError, match="holds no words"):
        read_words(tmp_path / "words.txt")


def test_a_model_from_end_to_end(home, evaluation, tmp_path):
    (tmp_path / "words.txt").write_text("the\n")
    options = ConductOptions(home.model, words=tmp_path / "words.txt", answer_tokens=8)
    made = run_conduct(options, out=tmp_path / "conduct")
    figures = json.loads((made.path / "conduct.json").read_text())
    lines = [json.loads(line) for line in (made.path / "answers.jsonl").read_text().splitlines()]
    assert len(lines) == len(situations()) == figures["with_words"]["of"]
    assert figures["harmful_refused"]["of"] == 36 and figures["pronouns"]["he"]["of"] == 60
    report = run_report(ReportOptions(evaluation, conduct=made.path), out=tmp_path / "report").path
    page = (report / "index.html").read_text()
    assert 'data-place="/conduct"' in page and "no attack was tried" in page
    assert "harmful requests refused" in (report / "README.md").read_text()
