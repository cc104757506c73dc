"""Figures from graded answers: shares by group and relation, abstention, confidence, evidence."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar

from ropewalk.engine.confidence import LOW_CONFIDENCE
from ropewalk.evaluate.answers import Answer
from ropewalk.evaluate.checks import agrees
from ropewalk.evaluate.questions import Question
from ropewalk.evaluate.shares import area_under_curve, share

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


def question_figures(
    questions: Sequence[Question], answers: Sequence[Answer], untrained: Sequence[Answer]
) -> dict[str, Any]:
    """All figures of a round of questions, as JSON values; every share with its 95% interval.

    Args:
        answers: to `questions`, in their order.
        untrained: what the model said to some of them before any training.
    """
    return {
        "asked": len(answers),
        "groups": _groups(questions, answers, untrained),
        "relations": [
            {"group": group, "relation": relation, **_grades(some)}
            for (group, relation), some in grouped(answers, lambda answer: (answer.group, answer.relation)).items()
        ],
        "abstention": _abstention(answers),
        "confidence": _confidence(answers),
        "evidence": _evidence(answers) if any(answer.evidence is not None for answer in answers) else None,
    }


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Items by key, in the order in which the keys first come."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _grades(answers: Sequence[Answer]) -> dict[str, Any]:
    counts = {name: sum(answer.grade == name for answer in answers) for name in ("right", "wrong", "refused")}
    return {"asked": len(answers), **counts, "accuracy": share(counts["right"], len(answers))}


def _groups(questions: Sequence[Question], answers: Sequence[Answer], untrained: Sequence[Answer]) -> list[dict[str, Any]]:
    before = grouped(untrained, lambda answer: answer.group)
    asked = grouped(questions, lambda question: question.group)
    rows = []
    for group, some in grouped(answers, lambda answer: answer.group).items():
        at_first = before.get(group, [])
        rows.append(
            {
                "group": group,
                **_grades(some),
                "untrained": share(sum(answer.grade == "right" for answer in at_first), len(at_first)),
                "baselines": _baselines(asked[group]),
            }
        )
    return rows


def _baselines(questions: Sequence[Question]) -> dict[str, Any]:
    """How often each simple rule gives the value, over the questions that it has something to say to."""
    figures = {}
    for name in dict.fromkeys(name for question in questions for name in question.baselines):
        tried = [question for question in questions if name in question.baselines]
        hits = sum(question.value is not None and agrees(question.baselines[name], question.value) for question in tried)
        figures[name] = share(hits, len(tried))
    return figures


def _abstention(answers: Sequence[Answer]) -> dict[str, Any]:
    """How often it says "I don't know": where that is right, and where there was an answer."""

    def refusing(some: Sequence[Answer]) -> dict[str, Any]:
        return share(sum(not answer.claims for answer in some), len(some))

    unanswerable = [answer for answer in answers if answer.refuse]
    answerable = [answer for answer in answers if not answer.refuse]
    by_group = grouped(answers, lambda answer: (answer.group, answer.refuse))
    return {
        "unanswerable": refusing(unanswerable),
        "answerable": refusing(answerable),
        "groups": [
            {"group": group, "refuse": refuse, "refused": refusing(some)} for (group, refuse), some in by_group.items()
        ],
    }


def claiming(answers: Sequence[Answer]) -> tuple[list[Answer], list[Answer]]:
    """The right and the wrong among the answers that claim something."""
    claims = [answer for answer in answers if answer.claims]
    return [answer for answer in claims if answer.grade == "right"], [answer for answer in claims if answer.grade == "wrong"]


def is_doubtful(answer: Answer) -> bool:
    """Whether the answer's confidence is low."""
    return answer.confidence < LOW_CONFIDENCE


def is_unsupported(answer: Answer) -> bool:
    """Whether an index was asked, and no page holds what the answer says."""
    return answer.evidence is not None and not answer.evidence


def is_flagged(answer: Answer) -> bool:
    """Whether a reader is warned: it occurs nowhere, or the model was not sure."""
    return is_doubtful(answer) or is_unsupported(answer)


def abstention(answers: Sequence[Answer]) -> tuple[list[float], list[float]]:
    """How right what is answered is, when the least sure answers are withheld one after another.

    Refusals are never answers. Returns the share of all questions that is answered, and the share of right ones in it.
    """
    claims = sorted((one for one in answers if one.claims), key=lambda one: -one.confidence)
    answered, right = [], []
    hits = 0
    for number, one in enumerate(claims, start=1):
        hits += one.grade == "right"
        if number == len(claims) or claims[number].confidence < one.confidence:
            answered.append(number / len(answers))
            right.append(hits / number)
    return answered, right


def _confidence(answers: Sequence[Answer]) -> dict[str, Any]:
    right, wrong = claiming(answers)
    return {
        "low": LOW_CONFIDENCE,
        "wrong_low": share(sum(map(is_doubtful, wrong)), len(wrong)),
        "right_low": share(sum(map(is_doubtful, right)), len(right)),
        "area_under_curve": area_under_curve([one.confidence for one in right], [one.confidence for one in wrong]),
    }


def _evidence(answers: Sequence[Answer]) -> dict[str, Any]:
    right, wrong = claiming(answers)
    checkable = [answer for answer in right if answer.checkable]
    by_relation = grouped(checkable, lambda answer: answer.relation)
    return {
        "right_found": share(sum(bool(answer.evidence) for answer in right), len(right)),
        "right_checkable": len(checkable),
        **_stating(checkable),
        "relations": [{"relation": relation, **_stating(some)} for relation, some in by_relation.items()],
        "wrong_flagged": share(sum(map(is_flagged, wrong)), len(wrong)),
        "wrong_unsupported": share(sum(map(is_unsupported, wrong)), len(wrong)),
        "right_flagged": share(sum(map(is_flagged, right)), len(right)),
        "right_unsupported": share(sum(map(is_unsupported, right)), len(right)),
    }


def _stating(answers: Sequence[Answer]) -> dict[str, Any]:
    """The share of answers whose first evidence page, and any of them, states the fact."""
    first = sum(bool(answer.evidence and answer.evidence[0].states_fact) for answer in answers)
    some = sum(any(source.states_fact for source in answer.evidence or ()) for answer in answers)
    return {"first_states_fact": share(first, len(answers)), "any_states_fact": share(some, len(answers))}
