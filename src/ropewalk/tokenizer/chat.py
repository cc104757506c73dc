"""The one chat renderer: messages to ids and loss mask. Trainers, evaluation and servers all render here.

Our own models read one format:

    <|endoftext|><|im_start|>user\\nHello<|im_end|>\\n<|im_start|>assistant\\nHi there<|im_end|>\\n
                                                                          ^^^^^^^^^^^^^^^^^^ learned

A model made elsewhere is spoken to by the template in its folder (`template.py`). Either way special tokens are put in by
id and text is encoded apart from them, so nothing a user writes becomes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, cast, get_args

import numpy as np

from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.files import ChatTemplate
from ropewalk.tokenizer.pattern import well_formed
from ropewalk.tokenizer.special import BOUNDARY, TURN_END, TURN_START
from ropewalk.tokenizer.template import Stretch, stretches

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)


class Message(TypedDict):
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Rendered:
    """A conversation as ids, and 1 for each id that an assistant is to learn to say, 0 for all others."""

    ids: list[int]
    loss_mask: list[int]


def render(tokenizer: Tokenizer, messages: Sequence[Message]) -> Rendered:
    """Render a whole conversation, boundary first. Learned are the assistant's words and the end of its turns.

    Raises:
        InputError: the model was taught no conversations, or its own template refuses this one.
    """
    template = _template(tokenizer)
    if not template.ours:
        return _render_by_template(tokenizer, template, messages, open_answer=False)
    special = tokenizer.special
    ids, loss_mask = [special[BOUNDARY]], [0]
    newline = tokenizer.encode("\n")
    for message in messages:
        opening = _opening(tokenizer, message["role"])
        turn = [*tokenizer.encode(message["content"]), special[TURN_END]]
        learned = int(message["role"] == "assistant")
        ids += [*opening, *turn, *newline]
        loss_mask += [*([0] * len(opening)), *([learned] * len(turn)), *([0] * len(newline))]
    return Rendered(ids, loss_mask)


def render_prompt(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """The ids after which an assistant speaks: the conversation and the opening of its turn. Raises as `render` does."""
    template = _template(tokenizer)
    if not template.ours:
        return _render_by_template(tokenizer, template, messages, open_answer=True).ids
    return [*render(tokenizer, messages).ids, *_opening(tokenizer, "assistant")]


def _template(tokenizer: Tokenizer) -> ChatTemplate:
    if tokenizer.chat_template is None:
        raise InputError(
            "this model has no chat template, so it was taught no conversations: let it continue a text instead"
        )
    return tokenizer.chat_template


def _render_by_template(
    tokenizer: Tokenizer, template: ChatTemplate, messages: Sequence[Message], *, open_answer: bool
) -> Rendered:
    """The same by a template made elsewhere: each stretch between special tokens is encoded whole, as its trainers did."""
    whole = [{**message, "content": tokenizer.representable(message["content"])} for message in messages]
    ids: list[int] = []
    loss_mask: list[int] = []
    learned = False
    for part in stretches(template, whole, special=tokenizer.special, open_answer=open_answer):
        if isinstance(part, int):
            ids.append(part)
            loss_mask.append(int(learned))
            learned = False
        else:
            encoded = tokenizer.encode(part.text)
            ids += encoded
            loss_mask += _spoken_mask(tokenizer, part, encoded)
            learned = part.ends_spoken
    return Rendered(ids, loss_mask)


def _spoken_mask(tokenizer: Tokenizer, stretch: Stretch, ids: Sequence[int]) -> list[int]:
    """1 for each token with something in it that an assistant says."""
    edges = np.cumsum([0, *tokenizer.bytes_per_token[list(ids)]])
    mask = np.zeros(len(ids), dtype=np.int64)
    for first, last in stretch.spoken:
        begin, end = len(stretch.text[:first].encode()), len(stretch.text[:last].encode())
        mask |= (begin < edges[1:]) & (edges[:-1] < end)
    return mask.tolist()


def _opening(tokenizer: Tokenizer, role: str) -> list[int]:
    return [tokenizer.special[TURN_START], *tokenizer.encode(role + "\n")]


def check_messages(value: object, *, where: str) -> list[Message]:
    """Take what came out of JSON for messages, or say what is wrong with it; `where` begins the sentence.

    Raises:
        InputError: not a list of turns with a role and text, a system message that is not first, or a tool's result
            that answers no assistant.
    """
    if not isinstance(value, list) or not value:
        raise InputError(f"{where}: messages must be a list with at least one message")
    messages = [_checked(message, where=f"{where}, message {index}") for index, message in enumerate(value, start=1)]
    before = None
    for index, message in enumerate(messages, start=1):
        if message["role"] == "system" and before is not None:
            raise InputError(f"{where}, message {index}: a system message must come first")
        if message["role"] == "tool" and before not in ("assistant", "tool"):
            raise InputError(f"{where}, message {index}: a tool message must follow an assistant's")
        before = message["role"]
    return messages


def _checked(message: object, *, where: str) -> Message:
    if not isinstance(message, dict):
        raise InputError(f'{where} must be an object with "role" and "content"')
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise InputError(f"{where}: role is {_short(role)}, it must be one of {', '.join(ROLES)}")
    others = [key for key, other in message.items() if key not in ("role", "content") and other is not None]
    if others:
        raise InputError(f"{where}: {_short(others[0])} would be lost, messages have only role and content: remove it")
    if not isinstance(content, str):
        raise InputError(f"{where}: content is {_short(content)}, it must be text")
    return {"role": cast("Role", role), "content": well_formed(content)}


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
