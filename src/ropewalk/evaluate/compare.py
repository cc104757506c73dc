"""Two evaluations side by side: their figures, what their webs state otherwise, and the answers that differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ropewalk.artifact import Artifact
from ropewalk.evaluate.answers import Answer
from ropewalk.evaluate.scores import grouped
from ropewalk.evaluate.truth import Truth

Pair = tuple[Answer, Answer]


def paired(first: Sequence[Answer], second: Sequence[Answer]) -> list[Pair]:
    """The answers to the same question, letter for letter, in the first's order; the same id where that is asked twice."""
    by_question = grouped(second, lambda answer: answer.question)
    pairs = []
    for answer in first:
        others = by_question.get(answer.question, [])
        other = next((other for other in others if other.id == answer.id), others[0] if others else None)
        if other is not None:
            pairs.append((answer, other))
    return pairs


def paired_by_fact(first: Sequence[Answer], second: Sequence[Answer], pairs: Sequence[Pair]) -> list[Pair]:
    """The answers about the same subject and relation, of those in no pair yet: the same was asked in other words."""
    taken = {id(answer) for pair in pairs for answer in pair}
    left = [[answer for answer in side if id(answer) not in taken] for side in (first, second)]
    by_fact = grouped(left[1], lambda answer: (answer.subject, answer.relation))
    found = []
    for answer in left[0]:
        if others := by_fact.get((answer.subject, answer.relation)):
            found.append((answer, others.pop(0)))
    return found


def comparison(first: Sequence[Answer], second: Sequence[Answer]) -> dict[str, Any]:
    """What differs between two rounds of answers, as JSON values.

    facts: pairs to which the two webs give other answers, or only one of them any; whatever the models say. Where the same
        question was not put to both, one in other words stands beside it.
    answers: the pairs with the same question and the same right answer in which the models' answers differ.
    """
    same = paired(first, second)
    others = [pair for pair in same if not _facts_differ(pair)]
    facts = [pair for pair in (*same, *paired_by_fact(first, second, same)) if _facts_differ(pair)]
    facts.sort(key=lambda pair: (pair[0].subject, pair[0].relation))
    return {
        "asked_both": len(same),
        "facts": [_as_json(pair) for pair in facts],
        "facts_right": _right(facts),
        "same_facts": len(others),
        "same_facts_right": _right(others),
        "answers": [_as_json(pair) for pair in others if pair[0].answer != pair[1].answer],
    }


def _facts_differ(pair: Pair) -> bool:
    return (pair[0].value, pair[0].refuse) != (pair[1].value, pair[1].refuse)


def _right(pairs: Sequence[Pair]) -> list[int]:
    """How many answers of each side are right."""
    return [sum(pair[side].grade == "right" for pair in pairs) for side in (0, 1)]


def _as_json(pair: Pair) -> list[dict[str, Any]]:
    return [asdict(answer) for answer in pair]


def changed_facts(first: Truth, second: Truth) -> dict[str, Any]:
    """What two webs state otherwise: subjects that only one of them knows, and facts of which they give other values."""
    subjects = [{fact.subject for fact in truth.stated} for truth in (first, second)]
    values = [grouped(sorted(truth.stated), lambda fact: (fact.subject, fact.relation)) for truth in (first, second)]
    altered = []
    for subject, relation in sorted(values[0].keys() | values[1].keys()):
        said = [[fact.value for fact in side.get((subject, relation), [])] for side in values]
        if said[0] != said[1] and all(subject in known for known in subjects):
            altered.append({"subject": subject, "relation": relation, "values": said})
    only = [sorted(subjects[side] - subjects[1 - side]) for side in (0, 1)]
    return {"only": only, "altered": altered}


def changed_stages(first: Sequence[Artifact], second: Sequence[Artifact]) -> Iterator[dict[str, Any]]:
    """The artifacts of the same name behind both that differ, and the options that they were made with otherwise."""
    others = {artifact.path.name: artifact for artifact in second}
    for artifact in reversed(first):
        other = others.get(artifact.path.name)
        if other is None or other.digest == artifact.digest:
            continue
        names = dict.fromkeys([*artifact.options, *other.options])
        options = {name: [side.options.get(name) for side in (artifact, other)] for name in names}
        yield {
            "name": artifact.path.name,
            "kind": artifact.kind,
            "digests": [artifact.digest, other.digest],
            "options": {name: values for name, values in options.items() if values[0] != values[1]},
        }
