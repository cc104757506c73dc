"""Tools that a model may call while it answers, and answers in which it does.

calculator  arithmetic, exact
python      a program in the sandbox
search      sentences of the training pages, from an index

What a tool gives back becomes a turn of the conversation, by its ids behind the ids that were made; whatever it says, it
is text. A tool never fails: what is wrong with a call is told to the model, which may try again.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from ropewalk.engine.engine import Engine, Generation, Token
from ropewalk.engine.sampling import Sampling
from ropewalk.runtime.errors import OptionError
from ropewalk.runtime.seeds import derive_seed
from ropewalk.sandbox import Limits, run_code
from ropewalk.tokenizer.calls import Call, calls_in
from ropewalk.tokenizer.chat import render_results
from ropewalk.tokenizer.thinking import parted
from ropewalk.trace.index import Index

ToolName = Literal["calculator", "python", "search"]

MOST_CHARACTERS = 1_000  # of a result, and of an expression
MOST_DIGITS = 300  # of a number in a calculation
PYTHON_SECONDS = 5.0
FOUND = 3


@dataclass(frozen=True)
class Tool:
    """parameter: the one argument that it takes, a text. run: gives the result, or raises ValueError with what is wrong."""

    name: ToolName
    description: str
    parameter: str
    run: Callable[[str], str]

    @property
    def described(self) -> dict[str, Any]:
        """In OpenAI's words."""
        schema = {"type": "object", "properties": {self.parameter: {"type": "string"}}, "required": [self.parameter]}
        return {"name": self.name, "description": self.description, "parameters": schema}


def tools_of(names: Sequence[ToolName], *, index: Path | None = None) -> list[Tool]:
    """Some tools by their names; `search` looks into an index artifact.

    Raises:
        OptionError: `search` without an index. ArtifactError: that is none.
    """
    if "search" in names and index is None:
        raise OptionError("the tool search looks into an index: give --index")
    made = {
        "calculator": Tool("calculator", "Calculates an arithmetic expression.", "expression", calculate),
        "python": Tool("python", "Runs a Python program and gives back what it prints.", "code", run_python),
    }
    if index is not None:
        made["search"] = search_tool(Index.open(index))
    return [made[name] for name in names]


def search_tool(index: Index) -> Tool:
    """The tool `search`, of an open index."""
    return Tool("search", "Looks for sentences in the pages.", "query", lambda text: search(index, text))


def calculate(expression: str) -> str:
    """The value of an arithmetic expression, exact; a fraction that does not end, to 12 digits.

    Raises:
        ValueError: it is none, or its numbers are too large.
    """
    if len(expression) > MOST_CHARACTERS:
        raise ValueError("the expression is too long")
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError("this is no arithmetic expression") from None
    except ZeroDivisionError:
        raise ValueError("division by zero") from None
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.12g}"


_OPERATIONS: dict[type[ast.AST], Callable[[Fraction, Fraction], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def _value(node: ast.AST) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return _small(Fraction(str(node.value)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        value = _value(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _small(Fraction(_OPERATIONS[type(node.op)](_value(node.left), _value(node.right))))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return _power(_value(node.left), _value(node.right))
    raise ValueError("only numbers, + - * / // % ** and brackets can be calculated")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise ValueError("only whole exponents can be calculated")
    digits = max(len(str(abs(base.numerator))), len(str(base.denominator)))
    if abs(exponent) * digits > MOST_DIGITS:
        raise ValueError("the numbers grow too large")
    return _small(Fraction(base**exponent.numerator))


def _small(value: Fraction) -> Fraction:
    if max(abs(value.numerator), value.denominator) >= 10**MOST_DIGITS:
        raise ValueError("the numbers grow too large")
    return value


def run_python(code: str) -> str:
    """What a program prints in the sandbox; where it fails, the last line of what it says of that.

    Raises:
        ValueError: it fails, or takes too long.
    """
    outcome = run_code(code, limits=Limits(seconds=PYTHON_SECONDS))
    if outcome.ended == "finished":
        return outcome.stdout.strip() or "(nothing was printed)"
    complaint = outcome.stderr.strip().splitlines()[-1:] or [f"the program was ended: {outcome.ended}"]
    raise ValueError(complaint[0] if outcome.ended == "failed" else f"the program was ended: {outcome.ended}")


def search(index: Index, text: str) -> str:
    """Sentences of the training pages that hold all the words, each with its page's address."""
    found = index.evidence(text, limit=FOUND)
    return "\n".join(f"{one.sentence} ({one.url})" for one in found) or "(nothing was found)"


def result_of(call: Call, tools: Mapping[str, Tool]) -> str:
    """What a tool gives back, or what is wrong with the call."""
    tool = tools.get(call.name)
    if tool is None:
        return f"error: there is no function {call.name}"
    argument = call.arguments.get(tool.parameter)
    if not isinstance(argument, str):
        return f"error: {call.name} needs {tool.parameter}, a string"
    try:
        return tool.run(argument)[:MOST_CHARACTERS]
    except ValueError as error:
        return f"error: {error}"[:MOST_CHARACTERS]


@dataclass(frozen=True)
class Heard:
    """What came of the calls in a turn of a request: their results in order, and the ids that are read of them."""

    request: int
    calls: list[Call]
    results: list[str]
    ids: list[int]


@dataclass(frozen=True)
class Conversed:
    """All that followed a prompt until the model had nothing more to ask of tools.

    ids: of all turns. spoken: which of them the model made, end tokens among them. made: these alone, with the text of
    its last turn. last_logprobs: of that turn's tokens. heard: what came of the calls in the turns before.
    """

    ids: list[int]
    spoken: list[bool]
    made: Generation
    last_logprobs: list[float]
    heard: list[Heard]


def conversing(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    samplings: Sequence[Sampling],
    tools: Sequence[Tool],
    *,
    most_rounds: int,
) -> Iterator[Token | Heard]:
    """Yield tokens as they are made, and what tools give back to the requests that call them: these go on with it,
    `most_rounds` times at most. Stop iterating to cancel.

    `max_tokens` is of each turn. Calls beyond the last round, and those for whose results the context has no room, are left
    unanswered. The engine must be idle.

    Raises:
        InputError: as `Engine.check`.
    """
    assert engine.idle, "another stream of this engine has not ended"
    by_name = {tool.name: tool for tool in tools}
    most_rounds = most_rounds if tools else 0
    read = [list(prompt) for prompt in prompts]
    said = [""] * len(prompts)
    rounds = [0] * len(prompts)
    for prompt, sampling in zip(read, samplings, strict=True):
        engine.check(prompt, sampling)
    try:
        for number, (prompt, sampling) in enumerate(zip(read, samplings, strict=True)):
            engine.submit(number, prompt, sampling)
        while not engine.idle:
            for token in engine.step():
                number = token.request
                read[number].append(token.id)
                said[number] += token.text
                yield token
                if (
                    token.finish != "stop"
                    or rounds[number] == most_rounds
                    or not (calls := calls_in(parted(said[number])[1]))
                ):
                    continue
                results = [result_of(call, by_name) for call in calls]
                heard = Heard(number, calls, results, render_results(engine.tokenizer, results))
                if len(read[number]) + len(heard.ids) < engine.model.config.context_tokens:
                    read[number] += heard.ids
                    said[number] = ""
                    rounds[number] += 1
                    yield heard
                    seed = derive_seed("turn", samplings[number].seed, rounds[number])
                    engine.submit(number, read[number], replace(samplings[number], seed=seed))
    finally:
        for number in range(len(prompts)):
            engine.cancel(number)


def converse(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    samplings: Sequence[Sampling],
    tools: Sequence[Tool],
    *,
    most_rounds: int,
) -> list[Conversed]:
    """Run all requests to their ends, as `conversing` does."""
    events: list[list[Token | Heard]] = [[] for _ in prompts]
    for event in conversing(engine, prompts, samplings, tools, most_rounds=most_rounds):
        events[event.request].append(event)
    return [conversed(some) for some in events]


def conversed(events: Sequence[Token | Heard]) -> Conversed:
    """One request's events put together."""
    ids: list[int] = []
    spoken: list[bool] = []
    made: list[Token] = []
    last: list[Token] = []
    for event in events:
        if isinstance(event, Token):
            made.append(event)
            last.append(event)
            ids.append(event.id)
            spoken.append(True)
        else:
            last = []
            ids += event.ids
            spoken += [False] * len(event.ids)
    text = "".join(token.text for token in last)
    whole = Generation([token.id for token in made], text, [token.logprob for token in made], last[-1].finish or "length")
    heard = [event for event in events if isinstance(event, Heard)]
    return Conversed(ids, spoken, whole, [token.logprob for token in last], heard)
