"""An assistant learns who it is from a short description, and knows it in wordings that it was not taught."""

from __future__ import annotations

import json

import pytest

from ropewalk.evaluate.questions import graded, read_questions
from ropewalk.posttrain import IdentityOptions, run_identity
from ropewalk.posttrain.identity import TOPICS
from ropewalk.runtime.errors import OptionError
from ropewalk.tokenizer.conversations import read_conversations

OPTIONS = IdentityOptions(name="Hemp", maker="the rope makers", abilities=("add numbers", "sing"), conversations=300)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return run_identity(OPTIONS, out=tmp_path_factory.mktemp("identity") / "identity")


def test_conversations_say_who_it_is_in_many_wordings(made):
    talks = list(read_conversations(made.path / "conversations.jsonl"))
    assert len(talks) == made.facts["conversations"] == 300
    said = [message["content"] for talk in talks for message in talk]
    assert not any("{" in text for text in said)
    assert len({talk[0]["content"] for talk in talks}) > 150
    assert {len(talk) for talk in talks} == {2, 4}
    whole = " ".join(said)
    assert all(text in whole for text in ("Hemp", "the rope makers", "add numbers and sing"))


def test_questions_are_worded_as_no_conversation_and_every_answer_is_right_to_them(made):
    talks = list(read_conversations(made.path / "conversations.jsonl"))
    questions = read_questions(made.path / "held_out.jsonl")
    asked = " ".join(message["content"] for talk in talks for message in talk if message["role"] == "user")
    assert len(questions) == made.facts["held_out"] >= 15
    said = {"name": "Hemp", "maker": "the rope makers", "abilities": "add numbers and sing"}
    for question in questions:
        assert question.text not in asked
        (topic,) = [topic for topic in TOPICS if topic.name == question.relation]
        assert all(graded(question, answer.format(**said)).grade == "right" for answer in topic.answers)
        assert graded(question, "I am ChatGPT, made by OpenAI.").grade == "wrong"


def test_the_same_seed_gives_the_same_words(tmp_path, made):
    assert run_identity(OPTIONS, out=tmp_path / "identity").digest == made.digest


def test_a_name_is_needed(tmp_path):
    with pytest.raises(OptionError, match="'name'"):
        run_identity(IdentityOptions(name="", maker="x"), out=tmp_path / "identity")


def test_a_system_message_stands_first(tmp_path):
    options = IdentityOptions(name="Hemp", maker="x", system="You are Hemp.", conversations=3)
    made = run_identity(options, out=tmp_path / "identity")
    for line in (made.path / "conversations.jsonl").read_text().splitlines():
        assert json.loads(line)["messages"][0] == {"role": "system", "content": "You are Hemp."}
