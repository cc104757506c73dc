"""A conversation as a prompt: what the model reads, and what is left out when its context is too small."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from ropewalk.engine.engine import Engine
from ropewalk.engine.generate import document_prompt
from ropewalk.tokenizer.chat import Message, render_prompt


@dataclass(frozen=True)
class Prompt:
    """ids: what the model reads. left_out: how many of the oldest messages it does not."""

    ids: list[int]
    left_out: int

    @property
    def notice(self) -> str:
        """What to tell the user of it; empty where nothing is left out."""
        if not self.left_out:
            return ""
        messages = "1 message is" if self.left_out == 1 else f"{self.left_out} messages are"
        return f"the conversation outgrows what the model can read: its oldest {messages} left out"


def conversation_prompt(engine: Engine, messages: Sequence[Message], *, converses: bool, answer_tokens: int) -> Prompt:
    """The prompt after which the model answers `messages`.

    A model that was taught no conversations continues the last message as a document. For one that was, the oldest turns are
    left out until there is room for `answer_tokens`, or half the context if that is less: a system message at the beginning
    stays, and what is kept begins with a user's message. The last user's message always stays.

    Raises:
        InputError: the model's chat template refuses these messages.
    """
    if not converses:
        return Prompt(document_prompt(engine, messages[-1]["content"]), left_out=0)
    context_tokens = engine.model.config.context_tokens
    room = context_tokens - min(answer_tokens, context_tokens // 2)
    opening = int(messages[0]["role"] == "system")
    users = [place for place, message in enumerate(messages) if message["role"] == "user" and place > opening]
    cuts = [opening, *users]

    def prompt(cut: int) -> list[int]:
        return render_prompt(engine.tokenizer, [*messages[:opening], *messages[cut:]])

    best = cuts[min(bisect_left(cuts, True, key=lambda cut: len(prompt(cut)) <= room), len(cuts) - 1)]
    return Prompt(prompt(best), left_out=best - opening)
