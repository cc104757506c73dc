"""Tools give results and never fail; a model that calls them goes on with their results, by ids."""

from __future__ import annotations

import pytest
from tests.engine.small import new_engine, new_model, new_tokenizer

from ropewalk.engine.sampling import Sampling
from ropewalk.engine.tools import MOST_CHARACTERS, calculate, converse, result_of, tools_of
from ropewalk.runtime.errors import OptionError
from ropewalk.tokenizer.calls import Call
from ropewalk.tokenizer.chat import with_told


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("47 + 38", "85"),
        ("2 * (3 - 10)", "-14"),
        ("1 / 3", "0.333333333333"),
        ("6 / 3", "2"),
        ("0.1 + 0.2", "0.3"),
        ("7 // 2 + 7 % 2", "4"),
        ("2 ** 100", "1267650600228229401496703205376"),
        ("2 ** -2", "0.25"),
        ("-+3", "-3"),
        (" 1_000 ", "1000"),
    ],
)
def test_the_calculator_is_exact(expression, value):
    assert calculate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "", "1 +", "a", "f(1)", "__import__('os')", "'a' * 3", "True + 1", "1 if 1 else 2", "[1][0]", "1j", "1e999 * 1e999",
        "9 ** 9 ** 9", "10 ** 400", "2 ** 0.5", "1 / 0", "5 % 0", "(" * 500 + "1" + ")" * 500, "1" * 2_000, "1 < 2", "nan",
    ],
)  # fmt: skip
def test_what_cannot_be_calculated_is_told(expression):
    (tool,) = tools_of(["calculator"])
    assert result_of(Call("calculator", {"expression": expression}), {"calculator": tool}).startswith("error: ")


def test_programs_run_in_the_sandbox():
    tools = {tool.name: tool for tool in tools_of(["python"])}

    def ran(code):
        return result_of(Call("python", {"code": code}), tools)

    assert ran("print(sum(range(10)))") == "45"
    assert ran("x = 1") == "(nothing was printed)"
    assert ran("1 / 0") == "error: ZeroDivisionError: division by zero"
    assert "error" in ran("import os; print(open('/etc/passwd').read())")
    assert len(ran("print('a' * 100_000)")) == MOST_CHARACTERS


def test_wrong_calls_are_told_what_is_wrong():
    tools = {tool.name: tool for tool in tools_of(["calculator"])}
    assert result_of(Call("nose", {}), tools) == "error: there is no function nose"
    assert result_of(Call("calculator", {"expression": 3}), tools) == "error: calculator needs expression, a string"
    with pytest.raises(OptionError, match="give --index"):
        tools_of(["search"])


def test_tools_are_told_of_in_the_system_message():
    tools, asked = [tool.described for tool in tools_of(["calculator"])], {"role": "user", "content": "1 + 2?"}
    alone = with_told([asked], tools)
    after = with_told([{"role": "system", "content": "Be brief."}, asked], tools)
    assert alone[0]["role"] == "system" and '"name": "calculator"' in alone[0]["content"]
    assert after[0]["content"] == "Be brief.\n\n" + alone[0]["content"]
    assert alone[1:] == after[1:] == [asked]
    assert with_told([asked], []) == [asked]


def test_without_a_call_it_is_an_answer_as_any():
    tokenizer = new_tokenizer()
    engine = new_engine(new_model(tokenizer), tokenizer, 2)
    prompts = [tokenizer.encode(text) for text in ("rope", "walk", "hemp")]
    samplings = [Sampling(8, seed=seed) for seed in range(3)]
    plain = engine.generate(prompts, samplings)
    talks = converse(engine, prompts, samplings, tools_of(["calculator"]), most_rounds=2)
    assert [one.made for one in talks] == plain
    assert all(one.ids == one.made.ids and all(one.spoken) for one in talks)
