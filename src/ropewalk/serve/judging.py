"""Answers that may be judged, and their way into the store.

The server remembers its latest answers as it wrote them, so a judgement needs no more than their names: what is kept is
not what a client says that the model said. `Judging` lives on the event loop; one thread writes, so that nothing on the
loop waits for the disk and no two writers meet.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from ropewalk.engine.engine import Token
from ropewalk.runtime.errors import MachineError
from ropewalk.runtime.progress import say
from ropewalk.serve.bodies import ChoiceBody, EditBody, JudgedAnswer, JudgementBody, ThumbBody
from ropewalk.serve.exporting import Rows, exported
from ropewalk.serve.faults import Refusal
from ropewalk.serve.feedback import Answer, AnswerKey, Judgement, Store, TooManyError
from ropewalk.serve.replies import LEAST_LOGPROB, Job, response_id

# What page and API offer; others may be sent.
REASONS = {
    "good": ("correct", "clear", "as asked"),
    "bad": ("not true", "not as asked", "too long", "too short", "unclear", "harmful"),
}
MOST_REMEMBERED = 4_000_000  # tokens and characters of all answers together: 150 MB at most


class Judging:
    """Remembers answers and keeps what is said of them; without a store, does neither."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="feedback")
        self._recent: OrderedDict[AnswerKey, Answer] = OrderedDict()
        self._remembered = 0

    @property
    def keeps(self) -> bool:
        """Whether judgements are kept."""
        return self._store is not None

    def close(self) -> None:
        """Wait until all is written."""
        self._writer.shutdown()

    def remember(self, job: Job, number: int, tokens: Sequence[Token]) -> None:
        """An answer is whole: from now on it may be judged. The oldest are forgotten for it."""
        if self._store is None or not job.chat:
            return
        finish = tokens[-1].finish
        assert finish is not None
        asked = job.choices[number]
        answer = Answer(
            id=response_id(job),
            choice=number,
            created=job.created,
            model=job.model.id,
            model_digest=job.model.digest,
            messages=job.messages,
            text="".join(token.text for token in tokens),
            finish=finish,
            prompt_ids=asked.prompt,
            token_ids=[token.id for token in tokens],
            logprobs=[max(token.logprob, LEAST_LOGPROB) for token in tokens],
            sampling=asdict(asked.sampling),
        )
        self.remember_answer(answer)

    def remember_answer(self, answer: Answer) -> None:
        """The same, of an answer as the store has it."""
        if self._store is None:
            return
        self._recent[answer.key] = answer
        self._remembered += _size(answer)
        while self._remembered > MOST_REMEMBERED and len(self._recent) > 1:
            self._remembered -= _size(self._recent.popitem(last=False)[1])

    async def judge(self, body: JudgementBody) -> dict[str, Any]:
        """Keep a judgement. Returns what can be told of it; it is on the disk by then.

        Raises:
            Refusal: nothing is kept here, there is no such answer any more, or the judgement makes no sense.
        """
        store = self._kept_in()
        judgement = _judgement(body)
        keys = [key for key in (judgement.answer, judgement.other) if key is not None]
        recent = {key: self._recent[key] for key in keys if key in self._recent}

        def keep() -> None:
            answers = [recent.get(key) or store.answer(key) for key in keys]
            _check(judgement, answers)
            store.add(judgement, [answer for answer in answers if answer is not None])

        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, keep)
        except TooManyError:
            raise Refusal(429, "This answer has been judged too often.", param="answer") from None
        except MachineError as error:
            raise _not_kept(error) from None
        return {"id": judgement.id, "object": "feedback", "created": int(judgement.created), "kind": judgement.kind}

    async def retract(self, judgement: str) -> dict[str, Any]:
        """Take a judgement back: it stays in the file, with a row that says so, and counts no more.

        Raises:
            Refusal: nothing is kept here, or there is no such judgement.
        """
        store = self._kept_in()
        try:
            there = await asyncio.get_running_loop().run_in_executor(self._writer, store.retract, judgement)
        except MachineError as error:
            raise _not_kept(error) from None
        if not there:
            raise Refusal(404, "There is no judgement of that id here.", param="judgement")
        return {"id": judgement, "object": "feedback", "retracted": True}

    async def exported(self) -> Rows:
        """What can be learned of all that was said.

        Raises:
            Refusal: nothing is kept here.
        """
        store = self._kept_in()
        return await asyncio.get_running_loop().run_in_executor(self._writer, lambda: exported(*store.judged()))

    def _kept_in(self) -> Store:
        if self._store is None:
            raise Refusal(403, "This server keeps no feedback: start it with --feedback FILE.", code="no_feedback")
        return self._store


def _judgement(body: JudgementBody) -> Judgement:
    named: dict[str, Any] = {
        "id": f"fb-{uuid.uuid4().hex}",
        "kind": body.kind,
        "created": time.time(),
        "comment": body.comment,
    }
    match body:
        case ThumbBody():
            value = "good" if body.good else "bad"
            return Judgement(value=value, answer=_key(body.answer), reasons=tuple(body.reasons), **named)
        case ChoiceBody():
            return Judgement(
                value=body.preferred, answer=_key(body.left), other=_key(body.right), reasons=tuple(body.reasons), **named
            )
        case EditBody():
            return Judgement(value="edited", answer=_key(body.answer), text=body.text, **named)


def _key(answer: JudgedAnswer) -> AnswerKey:
    return AnswerKey(answer.id, answer.choice)


def _check(judgement: Judgement, answers: Sequence[Answer | None]) -> None:
    """Raise Refusal for what cannot be meant."""
    names = ("left", "right") if judgement.kind == "choice" else ("answer",)
    for name, answer in zip(names, answers, strict=True):
        if answer is None:
            raise Refusal(404, "This answer is not remembered here any more, or never was: judge answers soon.", param=name)
    first, *others = answers
    assert first is not None
    for other in others:
        assert other is not None
        if other.key == first.key:
            raise Refusal(400, "Left and right are the same answer: give two.", param="right")
        if list(other.messages) != list(first.messages):
            raise Refusal(400, "The two answers are not to the same conversation: compare such.", param="right")
    if judgement.kind == "edit" and judgement.text == first.text:
        raise Refusal(400, "This is the answer as it stands: change it.", param="text")


def _not_kept(error: MachineError) -> Refusal:
    say(str(error))
    return Refusal(503, "The feedback could not be kept: the server's terminal says why.")


def _size(answer: Answer) -> int:
    characters = sum(len(message["content"]) for message in answer.messages) + len(answer.text)
    return characters + len(answer.prompt_ids) + len(answer.token_ids)
