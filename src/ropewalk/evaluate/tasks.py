"""Make tasks: problems from a data set or drawn here, as questions to practise on and questions held out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ropewalk.artifact import Part
from ropewalk.engine.tools import tools_of
from ropewalk.evaluate import TasksOptions
from ropewalk.evaluate.datasets import ROWS, Problem, arithmetic, gym, human_eval
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.lines import read_objects, write_objects
from ropewalk.runtime.seeds import generator
from ropewalk.tokenizer.calls import said_call
from ropewalk.tokenizer.chat import Message, with_told

TASKS, HELD_OUT, CONVERSATIONS = "tasks.jsonl", "held_out.jsonl", "conversations.jsonl"


def make_tasks(options: TasksOptions, part: Part) -> dict[str, Any]:
    """Write the three files, and return the facts."""
    problems = _distinct(_problems(options))
    problems = [problems[place] for place in generator("tasks", options.seed).permutation(len(problems)).tolist()]
    apart = options.shots + options.held_out
    if len(problems) <= apart:
        raise InputError(f"there are only {len(problems)} problems: hold out fewer than {options.held_out}, or bring more")
    opening = _opening(options, problems[: options.shots])
    held_out, train = problems[options.shots : apart], problems[apart:][: options.count]
    write_objects(part.folder / HELD_OUT, (_question(one, n, "held_out", opening) for n, one in enumerate(held_out)))
    write_objects(part.folder / TASKS, (_question(one, n, "seen", opening) for n, one in enumerate(train)))
    ideal = [one for one in train if one.ideal is not None]
    tools = [tool.described for tool in tools_of(["calculator"])] if options.calculator else []
    talks = ([*opening, _asks(one), *_calculates(one, options), _says(one)] for one in ideal)
    write_objects(
        part.folder / CONVERSATIONS,
        ({"messages": with_told(messages, tools)} for messages in talks),
    )
    return {"tasks": len(train), "held_out": len(held_out), "conversations": len(ideal)}


def _problems(options: TasksOptions) -> Iterator[Problem]:
    if options.dataset == "arithmetic":
        draws = generator("arithmetic", options.seed)
        yield from arithmetic(options.operations, digits=options.digits, count=options.drawn, draws=draws)
    elif options.dataset == "gym":
        yield from gym(options.names, count=options.drawn, seed=options.seed)
    else:
        rows = human_eval() if options.source is None else read_objects(options.source)
        for where, row in rows:
            if not options.groups or row.get("group") in options.groups:
                yield ROWS[options.dataset](row, where)


def _distinct(problems: Iterable[Problem]) -> list[Problem]:
    """Each question once: a copy of a held-out one must not be practised on."""
    return list({problem.text: problem for problem in problems}.values())


def _opening(options: TasksOptions, shots: Sequence[Problem]) -> list[Message]:
    """What stands before every question: the system message, and examples with their answers."""
    system: list[Message] = [{"role": "system", "content": options.system}] if options.system else []
    return [*system, *(message for one in shots for message in (_asks(one), _says(one)))]


def _asks(problem: Problem) -> Message:
    return {"role": "user", "content": problem.text}


def _says(problem: Problem) -> Message:
    if problem.ideal is None:
        raise InputError(f"the problem {problem.text[:60]!r} has no answer in words, so it is no example: give --shots 0")
    return {"role": "assistant", "content": problem.ideal}


def _calculates(problem: Problem, options: TasksOptions) -> list[Message]:
    """A call of the calculator and what it gives back, where that is asked for and there is something to calculate."""
    if not options.calculator or problem.expression is None:
        return []
    call = said_call("calculator", json.dumps({"expression": problem.expression}))
    return [{"role": "assistant", "content": call}, {"role": "tool", "content": problem.result}]


def _question(problem: Problem, number: int, group: str, opening: Sequence[Message]) -> dict[str, Any]:
    return {
        "id": f"{group}/{problem.relation}/{number}",
        "group": group,
        "relation": problem.relation,
        "subject": problem.text,
        "messages": [*opening, _asks(problem)],
        "value": problem.accept[0] if problem.accept else None,
        "accept": list(problem.accept),
        "refuse": problem.refuse,
        "checks": list(problem.checks),
    }
