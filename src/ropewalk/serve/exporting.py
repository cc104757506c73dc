"""`ropewalk feedback export`: judgements as the files that `dpo`, `reward` and `kto` read.

    preferences.jsonl   {"id", "prompt", "chosen", "rejected"}: choices; edits, the edited answer being chosen; and two
                        answers to one conversation, one of which has a thumb up and the other a thumb down
    thumbs.jsonl        {"id", "prompt", "completion", "label"}
    *-held-out.jsonl    the same of conversations to measure with

Rows stand in the order of the judgements. A conversation is known by how it begins, up to its first question, and is held
out, or not, by the hash of that: so all its answers are on one side, and stay there as the store grows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from ropewalk.artifact import Artifact, Part
from ropewalk.artifact.manifest import canonical
from ropewalk.config import build_stage
from ropewalk.runtime.lines import write_objects
from ropewalk.runtime.progress import say
from ropewalk.runtime.seeds import derive_seed
from ropewalk.serve import FEEDBACK, ExportFeedbackOptions
from ropewalk.serve.feedback import Answer, AnswerKey, Judgement, Store
from ropewalk.tokenizer.chat import Message

Answers = Mapping[AnswerKey, Answer]


@dataclass(frozen=True)
class Rows:
    """What can be learned from, as objects to write. dropped: how many rows there are not, and why."""

    preferences: list[dict[str, Any]]
    thumbs: list[dict[str, Any]]
    dropped: Counter[str]


@dataclass(frozen=True)
class _Candidate:
    """A pair that might be a row. number: of the judgement that made it one. cut_off: what is chosen lacks its end."""

    number: int
    id: str
    prompt: Sequence[Message]
    chosen: str
    rejected: str
    tie: bool = False
    cut_off: bool = False


def export_feedback(options: ExportFeedbackOptions, *, out: Path, force: bool) -> Artifact:
    """Make the artifact of what the store holds now; what is judged meanwhile waits for the next one.

    Raises:
        ArtifactError: what stands at `out` differs. InputError: there is no store.
    """
    with closing(Store(options.store)) as store, store.at_rest():
        return build_stage(FEEDBACK, options, out=out, force=force, make=lambda part: _write(options, store, part))


def _write(options: ExportFeedbackOptions, store: Store, part: Part) -> dict[str, Any]:
    """Write the files, and return how many rows they have and what was left out."""
    rows = exported(*store.judged())
    left_out = rows.dropped + Counter({"judgements retracted": store.count_retracted()})
    counts: dict[str, int] = {}
    for name, found in (("preferences", rows.preferences), ("thumbs", rows.thumbs)):
        held_out = [_held_out(row["prompt"], options.held_out_fraction) for row in found]
        for file, side in ((f"{name}.jsonl", False), (f"{name}-held-out.jsonl", True)):
            chosen = [row for row, held in zip(found, held_out, strict=True) if held == side]
            write_objects(part.folder / file, chosen)
            counts[file] = len(chosen)
            say(f"{len(chosen):>8,} {file}")
    for reason, count in sorted(left_out.items()):
        say(f"left out, {reason}: {count:,}")
    return {"rows": counts, "left_out": dict(sorted(left_out.items()))}


def exported(answers: Answers, judgements: Sequence[Judgement]) -> Rows:
    """Make rows of the judgements that stand."""
    dropped: Counter[str] = Counter()
    preferences, thumbs = [], []
    for pair in sorted(_candidates(answers, judgements), key=lambda pair: pair.number):
        reason = _why_no_pair(pair)
        if reason:
            dropped[f"pairs {reason}"] += 1
            continue
        sides = {"chosen": _said(pair.chosen), "rejected": _said(pair.rejected)}
        preferences.append({"id": pair.id, "prompt": list(pair.prompt), **sides})
    for one in (one for one in judgements if one.kind == "thumb"):
        answer, good = answers[one.answer], one.value == "good"
        reason = _why_nothing(answer.messages, cut_off=good and _cut_off(answer))
        if reason:
            dropped[f"thumbs {reason}"] += 1
            continue
        row = {"id": one.id, "prompt": list(answer.messages), "completion": _said(answer.text), "label": good}
        thumbs.append(row)
    return Rows(preferences, thumbs, dropped)


def _candidates(answers: Answers, judgements: Sequence[Judgement]) -> Iterator[_Candidate]:
    compared = set()
    for one in judgements:
        answer = answers[one.answer]
        if one.other is not None:
            compared.add(frozenset((one.answer, one.other)))
            good, bad = (answers[one.other], answer) if one.value == "right" else (answer, answers[one.other])
            tie = one.value not in ("left", "right")
            yield _Candidate(one.number, one.id, good.messages, good.text, bad.text, tie, cut_off=_cut_off(good))
        elif one.kind == "edit":
            yield _Candidate(one.number, one.id, answer.messages, one.text, answer.text)
    for up, down in _opposite_thumbs(answers, judgements):
        if frozenset((up.answer, down.answer)) not in compared:
            good, bad = answers[up.answer], answers[down.answer]
            number, name = max(up.number, down.number), f"{up.id}/{down.id}"
            yield _Candidate(number, name, good.messages, good.text, bad.text, cut_off=_cut_off(good))


def _opposite_thumbs(answers: Answers, judgements: Sequence[Judgement]) -> Iterator[tuple[Judgement, Judgement]]:
    """Thumbs up and down on answers to one conversation.

    Each is in a pair, and no more often than it must be: all with all would be the square of a popular question's answers.
    """
    ups: dict[str, list[Judgement]] = defaultdict(list)
    downs: dict[str, list[Judgement]] = defaultdict(list)
    for one in judgements:
        if one.kind == "thumb":
            (ups if one.value == "good" else downs)[canonical(answers[one.answer].messages)].append(one)
    for conversation, up in ups.items():
        down = downs[conversation]
        yield from zip(up, cycle(down)) if len(up) >= len(down) else zip(cycle(up), down)


def _why_no_pair(pair: _Candidate) -> str | None:
    if pair.tie:
        return "that are ties"
    if pair.chosen == pair.rejected:
        return "of the same words"
    return _why_nothing(pair.prompt, cut_off=pair.cut_off)


def _why_nothing(prompt: Sequence[Message], *, cut_off: bool) -> str | None:
    """Why an answer is none to learn from."""
    if prompt[-1]["role"] not in ("user", "tool"):
        return "on answers to no question"
    return "that would teach to stop in the middle" if cut_off else None


def _cut_off(answer: Answer) -> bool:
    return answer.finish != "stop"


def _said(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text}]


def _held_out(prompt: Sequence[Message], fraction: float) -> bool:
    first = next(place for place, message in enumerate(prompt) if message["role"] == "user" or place == len(prompt) - 1)
    return derive_seed("feedback held out", canonical(prompt[: first + 1])) < fraction * 2**63
