"""The one chat renderer: messages to ids and loss mask. Trainers, evaluation and servers all render here.

Our own models read one format:

    <|endoftext|><|im_start|>user\\nHello<|im_end|>\\n<|im_start|>assistant\\nHi there<|im_end|>\\n
                                                                          ^^^^^^^^^^^^^^^^^^ learned

A model made elsewhere is spoken to by the template in its folder (`template.py`). Either way special tokens are put in by
id and text is encoded apart from them, so nothing a user writes becomes one. Of answers that the user has gone on from, what
was thought before them (`thinking.py`) is not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, cast, get_args

import numpy as np

from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.calls import content_with_calls, told
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.files import ChatTemplate
from ropewalk.tokenizer.pattern import well_formed
from ropewalk.tokenizer.special import BOUNDARY, TURN_END, TURN_START
from ropewalk.tokenizer.template import Stretch, stretches
from ropewalk.tokenizer.thinking import parted, thinks, with_thoughts

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)
# OpenAI's way of writing calls and vLLM's of writing thoughts: they become part of what is said, and results come in the
# order of the calls.
OTHER_KEYS = {"assistant": ("tool_calls", "reasoning_content"), "tool": ("tool_call_id", "name")}


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

    Where it thinks, only turns after the last user's are learned: those before, without their thoughts, would teach to
    answer without.

    Raises:
        InputError: the model was taught no conversations, or its own template refuses this one.
    """
    template = _template(tokenizer)
    if not template.ours:
        return _render_by_template(tokenizer, template, messages, open_answer=False)
    messages, spoken = _as_read(messages)
    special = tokenizer.special
    ids, loss_mask = [special[BOUNDARY]], [0]
    newline = tokenizer.encode("\n")
    for message, learned in zip(messages, map(int, spoken), strict=True):
        opening = _opening(tokenizer, message["role"])
        turn = [*tokenizer.encode(message["content"]), special[TURN_END]]
        ids += [*opening, *turn, *newline]
        loss_mask += [*([0] * len(opening)), *([learned] * len(turn)), *([0] * len(newline))]
    return Rendered(ids, loss_mask)


def render_prompt(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """The ids after which an assistant speaks: the conversation and the opening of its turn. Raises as `render` does."""
    template = _template(tokenizer)
    if not template.ours:
        return _render_by_template(tokenizer, template, messages, open_answer=True).ids
    return [*render(tokenizer, messages).ids, *_opening(tokenizer, "assistant")]


def with_told(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The conversation with the tools told of in its system message; as it is without tools. `tools` as `told` has them."""
    if not tools:
        return list(messages)
    text = told(tools)
    if messages and messages[0]["role"] == "system":
        return [{"role": "system", "content": f"{messages[0]['content']}\n\n{text}"}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


def render_results(tokenizer: Tokenizer, results: Sequence[str]) -> list[int]:
    """What stands between the end token of an assistant that called tools and its next words: their results, as ids.

    What has been said is thus never encoded again. Raises as `render` does.
    """
    called: list[Message] = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    heard: list[Message] = [{"role": "tool", "content": well_formed(result)} for result in results]
    before = render(tokenizer, called)
    last = max(place for place, learned in enumerate(before.loss_mask) if learned)
    return render_prompt(tokenizer, [*called, *heard])[last + 1 :]


def _as_read(messages: Sequence[Message]) -> tuple[Sequence[Message], list[bool]]:
    """A conversation without the thoughts that are no longer read, and which of its turns are an assistant's to learn."""
    spoken = [message["role"] == "assistant" for message in messages]
    if not any(thinks(message["content"]) for message, said in zip(messages, spoken, strict=True) if said):
        return messages, spoken
    last = max((place for place, message in enumerate(messages) if message["role"] == "user"), default=-1)
    earlier = [
        Message(role="assistant", content=parted(message["content"])[1]) if message["role"] == "assistant" else message
        for message in messages[: last + 1]
    ]
    return [*earlier, *messages[last + 1 :]], [said and place > last for place, said in enumerate(spoken)]


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
    messages, spoken = _as_read(messages)
    whole = [{**message, "content": tokenizer.representable(message["content"])} for message in messages]
    ids: list[int] = []
    loss_mask: list[int] = []
    learned = False
    for part in stretches(template, whole, spoken=spoken, special=tokenizer.special, open_answer=open_answer):
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
    known = {"role", "content", *OTHER_KEYS.get(role, ())}
    calls, thoughts = (message.get(key) if role == "assistant" else None for key in ("tool_calls", "reasoning_content"))
    if not isinstance(calls, list | None):
        raise InputError(f"{where}: tool_calls is {_short(calls)}, it must be a list")
    if calls and isinstance(content, str | None):
        content = content_with_calls(message, where=where)
    if thoughts is not None and not isinstance(thoughts, str):
        raise InputError(f"{where}: reasoning_content is {_short(thoughts)}, it must be text")
    if thoughts and isinstance(content, str):
        content = with_thoughts(thoughts, content)
    others = [key for key, other in message.items() if key not in known and other is not None]
    if others:
        raise InputError(f"{where}: {_short(others[0])} would be lost, messages have only role and content: remove it")
    if not isinstance(content, str):
        raise InputError(f"{where}: content is {_short(content)}, it must be text")
    return {"role": cast("Role", role), "content": well_formed(content)}


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
