"""Intervals, areas, the truth's addresses and families of copies, by values known from elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ropewalk.engine.confidence import confidence
from ropewalk.evaluate.answers import Answer, Source
from ropewalk.evaluate.compare import changed_facts, comparison, paired
from ropewalk.evaluate.filters import Fate, _is_right, _keepers
from ropewalk.evaluate.questions import Question
from ropewalk.evaluate.scores import question_figures
from ropewalk.evaluate.shares import area_under_curve, share, wilson
from ropewalk.evaluate.truth import Fact, Truth, TruthPage, read_truth
from ropewalk.runtime.errors import InputError


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(0, 20, 0.0, 0.1611), (20, 20, 0.8389, 1.0), (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)],  # Newcombe 1998
)
def test_wilsons_interval(hits, total, low, high):
    assert wilson(hits, total) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_a_share_of_nothing_has_no_value():
    assert share(0, 0) == {"hits": 0, "of": 0, "share": None, "low": None, "high": None}


def test_the_area_counts_pairs():
    right, wrong = [0.9, 0.8, 0.5, 0.5], [0.7, 0.5, 0.1]
    pairs = [(a > b) + 0.5 * (a == b) for a in right for b in wrong]
    assert area_under_curve(right, wrong) == pytest.approx(sum(pairs) / len(pairs), abs=1e-4)
    assert area_under_curve([1.0], []) is None


def test_confidence_is_that_of_the_most_doubtful_token():
    assert confidence([-0.1, -1.0, -0.2]) == pytest.approx(0.36788, abs=1e-5)
    assert confidence([]) == 0.0


def page(path, kind="good", *, keep: bool | None = True, copy_of=None, facts=()):
    return TruthPage(path, kind, keep, copy_of, frozenset(facts))


PARIS = Fact("France", "capital", "Paris")


def test_a_page_is_found_with_and_without_its_sites_name():
    truth = Truth([page("/index.html"), page("/countries/côte d'ivoire.html", facts=[PARIS]), page("/a/index.html")])
    for url in (
        "http://127.0.0.1:8470/atlas/countries/c%C3%B4te%20d'ivoire.html",
        "file:countries/c%C3%B4te%20d'ivoire.html",
    ):
        assert truth.states(url, PARIS)
    assert not truth.states("http://127.0.0.1/countries/c%C3%B4te%20d'ivoire.html", PARIS._replace(value="Lyon"))
    for url, path in (
        ("http://h/", "/index.html"),
        ("http://h/atlas/", "/index.html"),
        ("http://h/atlas/a/", "/a/index.html"),
    ):
        found = truth.page(url)
        assert found is not None
        assert found.path == path
    assert truth.page("http://h/atlas/elsewhere.html") is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"path": "a.html", "kind": "good", "keep": True}, "begins with a slash"),
        ({"path": "/a.html", "keep": True}, '"kind" must be'),
        ({"path": "/a.html", "kind": "good", "keep": "yes"}, '"keep" must be'),
        ({"path": "/a.html", "kind": "exact_copy", "keep": False, "copy_of": "/b.html"}, "copy_of names '/b.html'"),
        ({"path": "/a.html", "kind": "good", "keep": True, "facts": ["Paris"]}, "a fact must have"),
    ],
)
def test_a_wrong_line_of_the_truth_is_named(tmp_path, line, said):
    path = tmp_path / "truth.jsonl"
    path.write_text(json.dumps({"path": "/x.html", "kind": "good", "keep": True}) + "\n" + json.dumps(line) + "\n")
    with pytest.raises(InputError, match="line 2") as raised:
        read_truth(path)
    assert said in str(raised.value)


KEPT, DROPPED, UNSEEN = Fate(True, "kept", ""), Fate(True, "quality", "few words"), Fate(False, "robots", "")


@pytest.mark.parametrize(
    ("fates", "expected"),
    [
        ({"/a": KEPT, "/b": DROPPED, "/c": DROPPED}, {"/a": True, "/b": True, "/c": True}),
        (
            {"/a": DROPPED, "/b": DROPPED, "/c": KEPT},
            {"/a": True, "/b": True, "/c": True},
        ),  # the copy of a copy stands for it
        ({"/a": KEPT, "/b": KEPT, "/c": DROPPED}, {"/a": True, "/b": False, "/c": True}),
        ({"/a": DROPPED, "/b": KEPT, "/c": KEPT}, {"/a": True, "/b": True, "/c": False}),
        ({"/a": DROPPED, "/b": DROPPED, "/c": DROPPED}, {"/a": False, "/b": True, "/c": True}),
        ({"/a": UNSEEN, "/b": UNSEEN, "/c": DROPPED}, {"/a": False, "/b": None, "/c": True}),
    ],
)
def test_of_a_family_of_copies_one_is_to_be_kept(fates, expected):
    truth = Truth(
        [page("/a"), page("/b", "exact_copy", keep=False, copy_of="/a"), page("/c", "near_copy", keep=None, copy_of="/b")]
    )
    keepers = _keepers(truth, fates)
    assert {path: _is_right(truth, truth.pages[path], fates[path], keepers) for path in fates} == expected


def test_spam_is_no_better_for_being_copied():
    truth = Truth([page("/s", "spam", keep=False), page("/t", "exact_copy", keep=False, copy_of="/s")])
    fates = {"/s": DROPPED, "/t": KEPT}
    keepers = _keepers(truth, fates)
    assert [_is_right(truth, truth.pages[path], fates[path], keepers) for path in fates] == [True, False]


def answer(name, text, grade, confidence, *, value: str | None = "Paris", refuse=False, evidence=None):
    asked = f"What is the capital of {name}?"
    return Answer(name, "g", "capital", name, asked, value, refuse, text, grade, confidence, value is not None, evidence)


def test_refusals_claim_nothing_and_doubt_is_a_flag():
    yes, no = Source("http://h/yes.html", "Paris.", True), Source("http://h/no.html", "Paris!", False)
    answers = [
        answer("a", "Paris.", "right", 0.9, evidence=(yes,)),
        answer("b", "Paris.", "right", 0.3, evidence=(no, yes)),
        answer("c", "Rome.", "wrong", 0.9, evidence=()),
        answer("d", "Rome.", "wrong", 0.2, evidence=(no,)),
        answer("e", "Rome.", "wrong", 0.8, evidence=(no,)),
        answer("f", "I don't know.", "refused", 0.1),
        answer("g", "I don't know.", "right", 0.1, value=None, refuse=True),
    ]
    questions = [Question(one.id, "g", "capital", one.id, (), one.value, (), one.refuse, {}) for one in answers]
    figures = question_figures(questions, answers, [])
    confidence_figures, evidence, abstention = figures["confidence"], figures["evidence"], figures["abstention"]
    assert {
        name: (evidence[name]["hits"], evidence[name]["of"]) for name in evidence if name.endswith(("fact", "flagged"))
    } == {
        "first_states_fact": (1, 2),
        "any_states_fact": (2, 2),
        "wrong_flagged": (2, 3),
        "right_flagged": (1, 2),
    }
    assert (confidence_figures["wrong_low"]["hits"], confidence_figures["right_low"]["hits"]) == (1, 1)
    assert confidence_figures["area_under_curve"] == pytest.approx((2.5 + 1) / 6, abs=1e-4)
    assert (abstention["answerable"]["hits"], abstention["answerable"]["of"]) == (1, 6)
    assert (abstention["unanswerable"]["hits"], abstention["unanswerable"]["of"]) == (1, 1)


def test_answers_are_paired_by_what_was_asked():
    first = [answer("a", "Paris.", "right", 0.9), answer("b", "Rome.", "wrong", 0.9)]
    second = [answer("c", "Oslo.", "wrong", 0.9), answer("a", "Lyon.", "wrong", 0.9)]
    assert [(one.answer, two.answer) for one, two in paired(first, second)] == [("Paris.", "Lyon.")]


def test_a_changed_fact_is_shown_though_it_was_asked_in_other_words():
    first = [answer("a", "Paris.", "right", 0.9), answer("b", "Rome.", "wrong", 0.9)]
    other = answer("a", "Lyon.", "right", 0.9, value="Lyon")
    second = [replace(other, question="Which town is the capital of a?"), replace(first[1], question="What is b's capital?")]
    compared = comparison(first, second)
    assert [(one["answer"], two["answer"]) for one, two in compared["facts"]] == [("Paris.", "Lyon.")]
    assert (compared["asked_both"], compared["answers"], compared["facts_right"]) == (0, [], [1, 1])


def test_what_two_webs_state_otherwise():
    lima = Fact("Peru", "capital", "Lima")
    first = Truth([page("/f", facts=[PARIS]), page("/p", facts=[lima])])
    second = Truth([page("/f", facts=[PARIS._replace(value="Lyon")])])
    assert changed_facts(first, second) == {
        "only": [["Peru"], []],
        "altered": [{"subject": "France", "relation": "capital", "values": [["Paris"], ["Lyon"]]}],
    }
