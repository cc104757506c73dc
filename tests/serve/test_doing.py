"""Programs and tools that a person lets happen."""

from __future__ import annotations

import pytest
from tests.serve.asking import ask
from tests.serve.test_completions import small_model
from tests.serve.world import running

from ropewalk.serve.app import Service


@pytest.fixture(scope="module")
def service():
    return Service({"small": small_model("small")}, most_waiting=4, starters=(), runs_code=True)


def test_a_program_runs_in_the_sandbox(address):
    status, told = ask(address, "/v1/run", {"code": "print(input()[::-1])", "stdin": "abc"})
    assert (status, told["stdout"], told["ended"]) == (200, "cba\n", "finished")
    told = ask(address, "/v1/run", {"code": "open('/etc/passwd')"})[1]
    assert (told["ended"], told["stdout"]) == ("failed", "")
    told = ask(address, "/v1/run", {"code": "while True: print('x' * 1000)"})[1]
    assert told["ended"] == "output"
    assert len(told["stdout"]) <= 100_000


def test_programs_are_run_only_where_the_server_was_told_to():
    with running(Service({"small": small_model("small")}, most_waiting=4, starters=())) as address:
        status, told = ask(address, "/v1/run", {"code": "print(1)"})
        assert (status, told["error"]["code"]) == (403, "no_programs")
        assert ask(address, "/v1/tools?model=small")[1]["runs_code"] is False
        call = {"model": "small", "name": "python", "arguments": {"code": "print(1)"}}
        assert ask(address, "/v1/tools", call)[1]["output"] == "error: there is no function python"


@pytest.mark.parametrize(
    ("name", "arguments", "output"),
    [
        ("calculator", {"expression": "6*7"}, "42"),
        ("calculator", {}, "error: calculator needs expression, a string"),
        ("python", {"code": "print('yarn')"}, "yarn"),
        ("search", {"query": "hemp"}, "error: there is no function search"),  # no pages are behind this model
    ],
)
def test_tools_give_a_text_whatever_they_are_called_with(address, name, arguments, output):
    assert ask(address, "/v1/tools", {"model": "small", "name": name, "arguments": arguments}) == (
        200,
        {"object": "tool.result", "output": output},
    )


def test_a_model_with_pages_can_have_them_searched(server):
    address, _ = server
    named = {tool["function"]["name"] for tool in ask(address, "/v1/tools?model=home/model")[1]["data"]}
    assert named == {"calculator", "search"}
    call = {"model": "home/model", "name": "search", "arguments": {"query": "hemp country"}}
    assert "The colour of hemp is brown" in ask(address, "/v1/tools", call)[1]["output"]
