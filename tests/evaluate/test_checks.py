"""Verifiers agree with what a person would say of an answer, and with the package that has the answers."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ropewalk.evaluate import TasksOptions, run_tasks
from ropewalk.evaluate.checks import boxed, final_number, program, read_checks, score
from ropewalk.evaluate.datasets import ROWS, human_eval
from ropewalk.evaluate.questions import all_graded, read_questions
from ropewalk.runtime.errors import InputError


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("It is 42.", 42),
        ("So 3 + 4 = 7", 7),
        ("She has $1,234.50 left.", Fraction("1234.5")),
        ("Half, that is 1/2", Fraction(1, 2)),
        ("10-5", 5),
        ("It falls to -5 degrees", -5),
        ("#### 18\nNot 19.", 18),
        (r"We get \boxed{-3}, as 4 - 7.", -3),
        ("1/0", None),
        ("None at all.", None),
        ("", None),
    ],
)
def test_the_final_number(text, number):
    assert final_number(text) == number


@pytest.mark.parametrize(
    ("kind", "text", "accept", "right"),
    [
        ("number", "That makes 1,000 in all", ["1000"], True),
        ("number", "0.50", ["1/2"], True),
        ("number", "100 or 1000", ["100"], False),
        ("choice", "B", ["B"], True),
        ("choice", "The answer is (B), since A is too small.", ["B"], True),
        ("choice", "B. Paris", ["B"], True),
        ("choice", "A cat would say C", ["C"], False),
        ("choice", "I think that it's Paris", ["I"], True),  # a letter alone is taken for one: ask for the letter
        ("choice", "none", ["B"], False),
        ("boxed", r"so \boxed{\dfrac{1}{2}}", [r"\frac12"], True),
        ("boxed", r"so \boxed{x^{2}+1}", ["x^{2} + 1"], True),
        ("boxed", r"so \boxed{90^\circ}", ["90"], True),
        ("boxed", r"first \boxed{1}, then \boxed{2}", ["1"], False),
        ("boxed", "2", ["2"], False),
        ("contains", "It is Paris, of course.", ["Paris"], True),
        ("contains", "Parisian", ["Paris"], False),
        ("contains", "The code is +33.", ["+33"], True),
        ("contains", "The code is +331.", ["+33"], False),
    ],
)
def test_answers_that_need_not_be_said_letter_for_letter(kind, text, accept, right):
    assert score(read_checks([{"kind": kind}], where="here"), text, accept) == right


def test_checks_are_weighed():
    checks = read_checks([{"kind": "number"}, {"kind": "pattern", "pattern": "(?s).*####.*", "weight": 0.25}], where="here")
    said = ("7 #### 8", "8", "#### 9", "9")
    assert [score(checks, text, ["8"]) for text in said] == pytest.approx([1.0, 0.8, 0.2, 0.0])


def test_a_box_may_hold_braces():
    assert boxed(r"\boxed{\frac{1}{2}} and \boxed{\{1, 2\}}") == r"\{1, 2\}"
    assert boxed(r"\boxed{1") is None


def test_the_program_in_an_answer():
    assert program("First\n```python\na = 1\n```\nthen\n```\nb = 2\n```\n.") == "b = 2"
    assert program("```py\nunclosed = 1\n") == "unclosed = 1\n"
    assert program("print(1)") == "print(1)"


def test_human_eval_knows_its_solutions_from_others(tmp_path):
    """All 164 pass with their own solutions, as whole functions and as what only completes the prompt; nothing else does."""
    made = run_tasks(TasksOptions(dataset="humaneval", held_out=0), out=tmp_path / "tasks")
    questions = {question.text: question for question in read_questions(made.path / "tasks.jsonl")}
    rows = {ROWS["humaneval"](row, where).text: row for where, row in human_eval()}
    ideal = [ROWS["humaneval"](row, "").ideal for row in rows.values()]
    assert len(questions) == len(rows) == 164
    some = list(rows)[::16]
    bodies = [(questions[text], rows[text]["canonical_solution"]) for text in some]
    nothing = [(questions[text], f"```python\ndef {rows[text]['entry_point']}(*given):\n    pass\n```") for text in some]
    leaves = [(questions[text], "```python\nimport os\nos._exit(0)\n```") for text in some[:2]]
    right = [(questions[text], answer) for text, answer in zip(rows, ideal, strict=True)]
    assert {one.grade for one in all_graded(right + bodies)} == {"right"}
    assert {one.grade for one in all_graded(nothing + leaves)} == {"wrong"}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("number", '"checks" must be a list'),
        ([], '"checks" must be a list'),
        (["number"], "there is no check None"),
        ([{"kind": "nose"}], "there is no check 'nose'"),
        ([{"kind": "number", "weight": 0}], "the \"weight\" of the check 'number' must be a positive number"),
        ([{"kind": "pattern"}], "the check 'pattern' needs 'pattern'"),
        ([{"kind": "pattern", "pattern": "("}], r"the pattern '\(' is none"),
        ([{"kind": "code", "tests": 3}], "the 'tests' of the check 'code' must be a text"),
    ],
)
def test_wrong_checks_are_named(value, said):
    with pytest.raises(InputError, match=f"here: {said}"):
        read_checks(value, where="here")
