"""`ropewalk chat`: one conversation on stdin and stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ropewalk.artifact import is_artifact, open_artifact
from ropewalk.engine.engine import Engine
from ropewalk.engine.generate import document_prompt
from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.progress import say
from ropewalk.runtime.terminal import printable
from ropewalk.serve import ChatOptions
from ropewalk.tokenizer.chat import Message, render_prompt


def chat(options: ChatOptions) -> None:
    """Read lines, stream answers. `/new` forgets the conversation, `/exit` or end of input ends it."""
    engine = load_engine(options.model, slots=1)
    converses = learned_conversations(options.model)
    if converses:
        say(f"{options.model}: /new forgets the conversation, /exit ends it")
    else:
        say(f"{options.model} has read pages but no conversations: it continues your text. /exit ends it")
    sampling = Sampling(options.max_tokens, options.temperature, options.top_k, options.top_p, options.seed)
    opening: list[Message] = [{"role": "system", "content": options.system}] if options.system else []
    messages = list(opening)
    for turn, line in enumerate(_lines()):
        if line == "/exit":
            return
        if line == "/new":
            messages = list(opening)
            continue
        messages.append({"role": "user", "content": line})
        try:
            if converses:
                prompt = _fitting_prompt(engine, messages, keep=len(opening), answer_tokens=options.max_tokens)
            else:
                prompt = document_prompt(engine, line)
            answer = _streamed(engine, prompt, replace(sampling, seed=options.seed + turn))
        except InputError as error:
            say(str(error))
            messages.pop()
            continue
        messages.append({"role": "assistant", "content": answer})


def learned_conversations(model: Path) -> bool:
    """Whether a model was trained on conversations; a folder made elsewhere is taken to be a chat model."""
    if not is_artifact(model):
        return True
    return bool(open_artifact(model, "model").facts["conversations"])


def _streamed(engine: Engine, prompt: list[int], sampling: Sampling) -> str:
    """Print an answer as it comes, and return it."""
    answer = ""
    for token in engine.stream([prompt], [sampling]):
        answer += token.text
        print(printable(token.text), end="", flush=True)
    print()
    return answer


def _fitting_prompt(engine: Engine, messages: list[Message], *, keep: int, answer_tokens: int) -> list[int]:
    """The conversation as ids, with room for an answer of `answer_tokens`, or of half the context if that is less.

    When a conversation outgrows that, its oldest turns are left out and the user is told.
    """
    context_tokens = engine.model.config.context_tokens
    room = context_tokens - min(answer_tokens, context_tokens // 2)
    dropped = 0
    while True:
        prompt = render_prompt(engine.tokenizer, messages[:keep] + messages[keep + dropped :])
        if len(prompt) <= room or keep + dropped >= len(messages) - 1:
            break
        dropped += 2
    if dropped:
        say(f"(the conversation outgrows the model's {context_tokens} tokens: its oldest {dropped} messages are left out)")
    return prompt


def _lines() -> Iterator[str]:
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            line = input(prompt).strip()
        except EOFError:
            return
        if line:
            yield line
