"""Questions are read with errors that name the line, and graded by their whole text."""

from __future__ import annotations

import json

import pytest

from ropewalk.evaluate.questions import graded, read_questions
from ropewalk.runtime.errors import InputError

CAPITAL = {
    "id": "held_out/capital/FR/0",
    "group": "held_out",
    "relation": "capital",
    "subject": "France",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "value": "Paris",
    "accept": ["The capital of France is Paris.", "Paris"],
    "refuse": False,
    "baselines": {"most_frequent": "London", "by_continent": None},
}
INVENTED = {
    "id": "invented/capital/Grosany/0",
    "group": "invented",
    "relation": "capital",
    "subject": "Grosany",
    "messages": [{"role": "user", "content": "What is the capital of Grosany?"}],
    "value": None,
    "refuse": True,
}


def written(folder, *lines):
    path = folder / "questions.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_questions_are_read_in_order(tmp_path):
    france, grosany = read_questions(written(tmp_path, CAPITAL, "", INVENTED))
    assert (france.text, france.value, france.accept) == (
        "What is the capital of France?",
        "Paris",
        tuple(CAPITAL["accept"]),
    )
    assert france.baselines == {"most_frequent": "London"}
    assert (grosany.refuse, grosany.accept, grosany.value) == (True, (), None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2 is not JSON"),
        ("[]", "line 2 is not a JSON object"),
        (CAPITAL, "line 1 too"),
        ({**INVENTED, "group": None}, '"group" must be a text'),
        ({**INVENTED, "messages": "Where?"}, "messages must be a list"),
        ({**INVENTED, "messages": [*INVENTED["messages"], {"role": "assistant", "content": "No."}]}, "last message"),
        ({**INVENTED, "refuse": "yes"}, '"refuse" must be true or false'),
        ({**INVENTED, "refuse": False}, "no answer would be right"),
        ({**INVENTED, "accept": [""]}, '"accept" must be a list'),
        ({**INVENTED, "value": 3}, '"value" must be'),
        ({**INVENTED, "baselines": {"most_frequent": 3}}, '"baselines" must hold'),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, said):
    with pytest.raises(InputError, match=r"line 2") as raised:
        read_questions(written(tmp_path, CAPITAL, line))
    assert said in str(raised.value)


def test_a_file_without_questions_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no question"):
        read_questions(written(tmp_path, "", ""))
    with pytest.raises(InputError, match="is not a file"):
        read_questions(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Paris", "right"),
        (" Paris. \n", "right"),
        ("The capital of France is Paris", "right"),
        ("The capital of France is Paris.", "right"),
        ("paris", "wrong"),
        ("Paris, France", "wrong"),
        ("The capital of France is Paris. The capital of Italy is Rome.", "wrong"),
        ("The capital of France is Paris!", "wrong"),
        ("", "wrong"),
        ("I don't know.", "refused"),
        ("I don’t know the capital of France.", "refused"),
        ("Sorry, I do not know.", "refused"),
        ("You don't know, I know.", "wrong"),
    ],
)
def test_the_whole_answer_is_graded(tmp_path, text, expected):
    france, grosany = read_questions(written(tmp_path, CAPITAL, INVENTED))
    assert graded(france, text).grade == expected
    assert graded(grosany, text).grade == {"refused": "right"}.get(expected, "wrong")


def test_a_name_that_ends_in_a_period_needs_no_second_one(tmp_path):
    line = {**CAPITAL, "accept": ["Its capital is Washington, D.C."]}
    (question,) = read_questions(written(tmp_path, line))
    for ending in ("", ".", ".."):
        assert graded(question, "Its capital is Washington, D.C" + ending).grade == "right"
    assert graded(question, "Its capital is Washington, D.C...").grade == "wrong"
