"""A learned call is made, and its result read; rewards reach what the model said and nothing that it heard."""

from __future__ import annotations

import io
import json

import pytest
from tests.posttrain.test_grpo import task

from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.engine.tools import tools_of
from ropewalk.evaluate import TasksOptions, run_tasks
from ropewalk.evaluate.answers import ToolUse, ask, ask_often
from ropewalk.evaluate.questions import read_questions
from ropewalk.posttrain import GrpoOptions, SftOptions, run_grpo, run_sft
from ropewalk.posttrain.grpo import Trainer
from ropewalk.posttrain.rollout import answer_rows, attempt, graded, tasks_of
from ropewalk.pretrain import PretrainOptions
from ropewalk.pretrain import run as run_pretrain
from ropewalk.runtime.metrics import read_metrics
from ropewalk.serve import ChatOptions, run_chat
from ropewalk.tokenizer import TokenizeOptions, run_tokenize
from ropewalk.tokenizer.calls import said_call
from ropewalk.tokenizer.chat import render, with_told
from ropewalk.tokenizer.special import TURN_END

TOOLS = tools_of(["calculator"])
DESCRIBED = [tool.described for tool in TOOLS]
CALL = said_call("calculator", '{"expression": "6 * 7"}')
ASKED = {"role": "user", "content": "What is 6 * 7?"}
CALLED = [
    ASKED,
    {"role": "assistant", "content": CALL},
    {"role": "tool", "content": "42"},
    {"role": "assistant", "content": "42"},
]


@pytest.fixture(scope="module")
def caller(tmp_path_factory, corpus, gpt4_folder, chat_tokens):
    """A model that asks the calculator, or guesses: both were in its conversations."""
    folder = tmp_path_factory.mktemp("caller")
    turns = [CALLED, [ASKED, {"role": "assistant", "content": "41"}]]
    conversations = [{"messages": with_told(messages, DESCRIBED)} for messages in turns for _ in range(16)]
    tokens = run_tokenize(TokenizeOptions(corpus=corpus, tokenizer=gpt4_folder), out=folder / "tokens").path
    options = PretrainOptions(
        tokens=tokens, tokenizer=gpt4_folder, depth=2, width=64, head_width=32, context_tokens=512, batch_rows=2,
        train_tokens=8_000, warm_up_steps=2, compile="off", evaluate_documents=1,
    )  # fmt: skip
    base = run_pretrain(options, out=folder / "base")
    options = SftOptions(
        model=base.path,
        tokens=chat_tokens(conversations),
        epochs=30.0,
        batch_rows=2,
        warm_up_steps=3,
        evaluate_every_steps=50,
    )
    return run_sft(options, out=folder / "model").path


@pytest.fixture(scope="module")
def sums(write_lines):
    return write_lines([task(number, "What is 6 * 7?", "42") for number in range(2)])


def attempts_of(caller, sums, *, samples: int = 24, rounds: int = 2):
    engine = load_engine(caller, slots=12)
    tasks = tasks_of(engine.tokenizer, read_questions(sums)[:1], context_tokens=512, tools=TOOLS)
    samplings = [Sampling(60, seed=seed) for seed in range(samples)]
    return engine, attempt(engine, tasks * samples, samplings, tools=TOOLS, most_rounds=rounds)


def test_a_call_is_answered_and_the_answer_goes_on(caller, sums):
    engine, attempts = attempts_of(caller, sums)
    called = [one for one in attempts if one.made.text == "42"]
    assert {one.made.text for one in attempts} >= {"41", "42"}
    rendered = render(engine.tokenizer, with_told(CALLED, DESCRIBED))
    last = max(place for place, learned in enumerate(rendered.loss_mask) if learned) + 1
    assert called
    for one in called:
        assert one.sequence.ids.tolist() == rendered.ids[:last]
        assert one.sequence.learned.tolist() == [bool(learned) for learned in rendered.loss_mask[:last]]
        assert one.made.ids.count(engine.tokenizer.special[TURN_END]) == 2
    _, cut = attempts_of(caller, sums, rounds=0)
    assert "42" not in {one.made.text for one in cut}


def test_the_gradient_is_that_of_what_was_said(caller, sums):
    """What a tool gave back changes what is read, and is no target; log-probabilities are the engine's."""
    engine = load_engine(caller, slots=12)
    tasks = tasks_of(engine.tokenizer, read_questions(sums), context_tokens=512, tools=TOOLS)
    options = GrpoOptions(model=caller, tasks=sums, prompts=1, samples=16, max_tokens=60, tools=("calculator",))
    trainer = Trainer(engine, tasks[:1], options, judge=graded(-1.0), before={}, tools=TOOLS)
    learned = trainer.learn(0)
    assert learned.figures["sampling/importance_sampling_ratio/max"] == pytest.approx(1, abs=1e-3)
    heard = [
        answer
        for rows in trainer.batch
        for answer in rows.answers
        if not answer.sequence.learned[len(answer.prompt) :].all()
    ]
    assert heard
    result = [int(one) for one in heard[0].sequence.ids[~heard[0].sequence.learned][len(heard[0].prompt) :]]
    assert "42" in engine.tokenizer.decode(result)
    for rows in answer_rows(engine.model, [(heard[0], 1.0)]):
        assert rows.rows.targets_BT[rows.rows.mask_BT].tolist() == heard[0].generation.ids


def test_rewards_teach_to_ask(tmp_path, caller, sums, monkeypatch, capsys):
    options = GrpoOptions(
        model=caller, tasks=sums, steps=30, prompts=1, samples=16, max_tokens=60, tools=("calculator",), held_back_tasks=1,
        adamw_rate=0.001, warm_up_steps=1,
    )  # fmt: skip
    made = run_grpo(options, out=tmp_path / "model")
    rows = read_metrics(made.path / "logs")
    assert rows[0]["reward"] < 0.8 < rows[-1]["reward"]
    assert made.facts["held_back_right_fraction"] == 1
    questions = read_questions(sums)
    for answer in ask(load_engine(made.path), questions, max_tokens=60, tools=TOOLS, tool_rounds=2):
        assert (answer.answer, answer.grade) == ("42", "right")
        assert answer.calls == (ToolUse("calculator", {"expression": "6 * 7"}, "42"),)
    (alone, _) = ask(load_engine(made.path), questions, max_tokens=60)
    assert alone.calls == ()
    monkeypatch.setattr("sys.stdin", io.StringIO("What is 6 * 7?\n"))
    run_chat(ChatOptions(made.path, temperature=0.0, tools=("calculator",)))
    printed = capsys.readouterr()
    assert printed.out == "42\n"
    assert "(calculator: 6 * 7 -> 42)" in printed.err


def test_some_of_many_answers_ask(caller, sums):
    samplings = [Sampling(60, seed=seed) for seed in range(16)]
    first, second = ask_often(load_engine(caller), read_questions(sums), samplings, tools=TOOLS, tool_rounds=2)
    texts = [text for text, _ in first]
    assert {"41", "42"} <= set(texts) and texts != [text for text, _ in second]
    assert all((graded.grade == "right") == (text == "42") for text, graded in [*first, *second])


def test_conversations_with_a_calculator_are_made(tmp_path):
    made = run_tasks(
        TasksOptions(dataset="arithmetic", digits=1, count=5, held_out=1, calculator=True), out=tmp_path / "sums"
    )
    for line in (made.path / "conversations.jsonl").read_text().splitlines():
        system, user, call, result, answer = json.loads(line)["messages"]
        assert "calculator" in system["content"]
        expression = user["content"].removeprefix("What is ").removesuffix("?")
        assert call["content"] == said_call("calculator", json.dumps({"expression": expression}))
        assert result == {"role": "tool", "content": str(eval(expression))}
        assert answer["content"] == f"{expression} = {eval(expression)}"
