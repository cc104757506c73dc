"""How an answer is checked that need not be said letter for letter: verifiers, as functions of its text.

A question carries its checks as data, and an answer's score is their mean by weight:

    "checks": [{"kind": "number"}, {"kind": "pattern", "pattern": "(?s).*####.*", "weight": 0.2}]

whole     it is one of the texts in `accept`, but for white space around it and one final period; what is not said otherwise
number    its final number is one of them: what it marks by "####" or boxes, else the last that it names
boxed     what it boxes is, written as the data set MATH writes
choice    the letter that it settles on is
contains  it has one of them in it, as whole words
pattern   all of it matches a regular expression
code      its program passes `tests` in the sandbox, with `before` before it, and `opening` too if it does not define `entry`
gym       what reasoning-gym's own scorer of `dataset` gives it for `entry`, from 0 to 1
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ropewalk.runtime.errors import InputError, MachineError
from ropewalk.sandbox import Limits, run_code

CODE_SECONDS = 10.0

_NUMBER = re.compile(r"(?:(?<![\w)])[-+])?\$?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?<=\d)(?:\s*/\s*\d+)?")
_MARKED = re.compile(r"####\s*(.+)")
_SETTLED = re.compile(r"(?i:answer|choice|option)(?i:\s+is)?\s*:?\s*\**\s*\(?([A-Z])\b")
_LETTER = re.compile(r"(?<![A-Za-z'])\(?([A-Z])\)?(?![A-Za-z'])")
_FENCED = re.compile(r"```[ \t]*(?:python|py)?[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Check:
    """One check. given: what its kind needs beside the accepted texts."""

    kind: str
    weight: float = 1.0
    given: Mapping[str, Any] = field(default_factory=dict)


WHOLE = (Check("whole"),)


def score(checks: Sequence[Check], text: str, accept: Sequence[str]) -> float:
    """How right an answer is, from 0 to 1."""
    weighed = sum(check.weight * CHECKS[check.kind](text, accept, check.given) for check in checks)
    return weighed / sum(check.weight for check in checks)


def agrees(text: str, other: str) -> bool:
    """Whether two texts are the same, but for white space around them and one final period."""
    text, other = text.strip(), other.strip()
    return text == other or text.removesuffix(".") == other or text == other.removesuffix(".")


def _whole(text: str, accept: Sequence[str], given: Mapping[str, Any]) -> float:
    return float(any(agrees(text, accepted) for accepted in accept))


def _number(text: str, accept: Sequence[str], given: Mapping[str, Any]) -> float:
    found = final_number(text)
    return float(found is not None and any(found == final_number(accepted) for accepted in accept))


def final_number(text: str) -> Fraction | None:
    """The number that a text ends on; None if it names none."""
    marked = _MARKED.findall(text)
    place = marked[-1] if marked else boxed(text) or text
    numbers = [number for number in _NUMBER.findall(place) if number]
    if not numbers:
        return None
    above, _, below = re.sub(r"[\s,$]", "", numbers[0 if marked else -1]).partition("/")
    return Fraction(above) / Fraction(below or 1) if below.strip("0") or not below else None


def _boxed(text: str, accept: Sequence[str], given: Mapping[str, Any]) -> float:
    found = boxed(text)
    if found is None:
        return 0.0
    return float(any(_plain_math(found) == _plain_math(boxed(accepted) or accepted) for accepted in accept))


def boxed(text: str) -> str | None:
    r"""What stands in a text's last \boxed{...}, braces and all that is in it; None where none is closed."""
    start = text.rfind("\\boxed{")
    depth = 0
    for place in range(start + 6, len(text)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + 7 : place]
    return None


def _plain_math(text: str) -> str | Fraction:
    """A formula without what only changes its looks; a plain number as such."""
    text = re.sub(r"\\(?:left|right|,|!|;|\s)", "", text).replace("dfrac", "frac").replace("tfrac", "frac")
    text = re.sub(r"\\(?:text|mathrm|mbox)\{([^}]*)\}", r"\1", text)
    text = re.sub(r"\\frac\{?(\d+)\}?\{?(\d+)\}?", r"\1/\2", text)
    text = re.sub(r"\^\{?\\circ\}?|\\?[$%]|\s", "", text).rstrip(".")
    number = _NUMBER.fullmatch(text)
    return final_number(text) or text if number else text


def _choice(text: str, accept: Sequence[str], given: Mapping[str, Any]) -> float:
    settled = _SETTLED.findall(text) or _LETTER.findall(text)[:1]
    return float(bool(settled) and settled[-1] in accept)


def _contains(text: str, accept: Sequence[str], given: Mapping[str, Any]) -> float:
    return float(any(re.search(rf"(?<!\w){re.escape(accepted)}(?!\w)", text) for accepted in accept))


def _pattern(text: str, accept: Sequence[str], given: Mapping[str, Any]) -> float:
    return float(re.fullmatch(given["pattern"], text) is not None)


def _code(text: str, accept: Sequence[str], given: Mapping[str, Any]) -> float:
    code, entry = program(text), given.get("entry")
    opening = given.get("opening", "") if entry and not re.search(rf"\bdef\s+{re.escape(entry)}\b", code) else ""
    parts = [given.get("before", ""), opening + code, given["tests"]]
    # A program that ends before its tests has not passed them: what they end with must be there.
    seal = hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()
    outcome = run_code("\n".join([*parts, f"print(); print({seal!r})"]), limits=Limits(seconds=CODE_SECONDS))
    return float(outcome.ended == "finished" and outcome.stdout.rstrip().endswith(seal))


def program(text: str) -> str:
    """The last fenced block of Python in an answer, or all of it where there is none."""
    blocks = _FENCED.findall(text)
    return blocks[-1] if blocks else text


def _gym(text: str, accept: Sequence[str], given: Mapping[str, Any]) -> float:
    try:
        from reasoning_gym import get_score_answer_fn  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MachineError("these tasks are scored by reasoning-gym: pip install 'ropewalk[gym]'") from None
    scored: Any = get_score_answer_fn(given["dataset"])  # typed without its arguments
    return float(scored(text.strip(), json.loads(given["entry"])))


CHECKS: dict[str, Callable[[str, Sequence[str], Mapping[str, Any]], float]] = {
    "whole": _whole,
    "number": _number,
    "boxed": _boxed,
    "choice": _choice,
    "contains": _contains,
    "pattern": _pattern,
    "code": _code,
    "gym": _gym,
}
NEEDED = {"pattern": ("pattern",), "code": ("tests",), "gym": ("dataset", "entry")}
WITHOUT_ACCEPT = ("pattern", "code", "gym")


def read_checks(value: object, *, where: str) -> tuple[Check, ...]:
    """Take what came out of JSON for checks; without any, the answer is checked as a whole.

    Raises:
        InputError: no list of checks, one of no known kind, or without what it needs; `where` begins the sentence.
    """
    if value is None:
        return WHOLE
    if not isinstance(value, list) or not value:
        raise InputError(f'{where}: "checks" must be a list of objects with a "kind"')
    return tuple(_checked(one, where=where) for one in value)


def _checked(value: object, *, where: str) -> Check:
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(value, dict) or kind not in CHECKS:
        raise InputError(f"{where}: there is no check {kind!r}: take one of {', '.join(CHECKS)}")
    weight = value.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
        raise InputError(f'{where}: the "weight" of the check {kind!r} must be a positive number')
    given = {key: other for key, other in value.items() if key not in ("kind", "weight") and other is not None}
    for key, other in given.items():
        if not isinstance(other, str):
            raise InputError(f"{where}: the {key!r} of the check {kind!r} must be a text")
    for key in NEEDED.get(kind, ()):
        if key not in given:
            raise InputError(f"{where}: the check {kind!r} needs {key!r}")
    if kind == "pattern":
        try:
            re.compile(given["pattern"])
        except re.error as error:
            raise InputError(f"{where}: the pattern {given['pattern']!r} is none ({error})") from None
    return Check(kind, float(weight), given)
