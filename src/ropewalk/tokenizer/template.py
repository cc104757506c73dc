"""Chat templates of models made elsewhere, rendered so that what is said can never become a special token.

A template writes one string, and in a string a user's '<|im_end|>' cannot be told from the template's own. So it is given
marks in place of what is said. What it makes of them is cut at the special tokens, and only then the words are put in:
each stretch between special tokens is text, whatever it says. That the template would have written the same around the
words themselves, and so takes no part of them for its own, is checked by rendering them too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.files import ChatTemplate

_MARK = re.compile("\ue000(\\d+)\ue001")  # private use: no template has these, and no user's text is rendered with them
_GENERATION = re.compile(r"(\{%[-+]?\s*)(?:(end)generation|generation)(\s*[-+]?%\})")


@dataclass(frozen=True)
class Stretch:
    """The text between two special tokens.

    spoken: where in it, in characters, an assistant speaks: from its first word to the next message, or to the end.
    """

    text: str
    spoken: list[tuple[int, int]]

    @property
    def ends_spoken(self) -> bool:
        """Whether the special token after it is the assistant's to say."""
        return bool(self.spoken) and self.spoken[-1][1] == len(self.text)


def stretches(
    template: ChatTemplate,
    messages: Sequence[Mapping[str, str]],
    *,
    spoken: Sequence[bool],
    special: Mapping[str, int],
    open_answer: bool,
) -> list[Stretch | int]:
    """A conversation as its template lays it out: stretches of text, and the ids of the special tokens between them.

    spoken: which messages an assistant speaks. open_answer: end with the opening of an assistant's turn.

    Raises:
        InputError: the template cannot be rendered, refuses the messages, or changes what is said.
    """
    compiled = _compiled(template.text)
    cores = [message["content"].strip() for message in messages]  # a template may trim the space around them
    marked = [
        {**message, "content": message["content"].replace(core, f"\ue000{index}\ue001") if core else message["content"]}
        for index, (message, core) in enumerate(zip(messages, cores, strict=True))
    ]
    laid_out = _rendered(compiled, template, marked, open_answer)
    if _MARK.sub(lambda mark: cores[int(mark[1])], laid_out) != _rendered(compiled, template, messages, open_answer):
        raise InputError("the model's chat template changes what is said in this conversation: say it in other words")
    names = "|".join(re.escape(name) for name in sorted(special, key=len, reverse=True))
    parts = re.split(f"({names})", laid_out) if special else [laid_out]
    return [special[part] if part in special else _stretch(part, cores, spoken) for part in parts if part]


def _stretch(part: str, cores: Sequence[str], spoken: Sequence[bool]) -> Stretch:
    """Put the words in the place of their marks."""
    found = []
    text, *marked = _MARK.split(part)  # text, then the number of a mark and the text behind it, again and again
    for number, behind in zip(map(int, marked[::2]), marked[1::2], strict=True):
        start = len(text)
        text += cores[number] + behind
        if spoken[number]:
            found.append((start, len(text)))
    return Stretch(text, found)


@lru_cache(maxsize=8)
def _compiled(text: str) -> Template:
    """The template as transformers compiles it; its own tag around an assistant's words becomes a plain block."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.globals["raise_exception"] = _refuse
    try:
        return environment.from_string(
            _GENERATION.sub(lambda tag: f"{tag[1]}{'endif' if tag[2] else 'if true'}{tag[3]}", text)
        )
    except TemplateError as error:
        raise InputError(
            f"the model's chat template cannot be read ({error}): take its folder from where it was made"
        ) from None


def _rendered(compiled: Template, template: ChatTemplate, messages: Sequence[Any], open_answer: bool) -> str:
    try:
        return compiled.render(messages=messages, add_generation_prompt=open_answer, **template.variables)
    except (TemplateError, TypeError) as error:
        raise InputError(
            f"the model's chat template fails on this conversation ({error}): try without a system message"
        ) from None


def _refuse(message: str) -> None:
    raise InputError(f"the model's chat template refuses this conversation: {message}")
