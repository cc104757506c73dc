"""`ropewalk chat`: one conversation on stdin and stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

from ropewalk.engine.engine import Engine
from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.progress import say
from ropewalk.runtime.terminal import printable
from ropewalk.serve import ChatOptions
from ropewalk.serve.conversation import conversation_prompt
from ropewalk.serve.models import learned_conversations
from ropewalk.tokenizer.chat import Message


def chat(options: ChatOptions) -> None:
    """Read lines, stream answers. `/new` forgets the conversation, `/exit` or end of input ends it."""
    engine = load_engine(options.model, slots=1)
    converses = learned_conversations(engine, options.model)
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
            prompt = conversation_prompt(engine, messages, converses=converses, answer_tokens=options.max_tokens)
            if prompt.notice:
                say(f"({prompt.notice})")
            answer = _streamed(engine, prompt.ids, replace(sampling, seed=options.seed + turn))
        except InputError as error:
            say(str(error))
            messages.pop()
            continue
        messages.append({"role": "assistant", "content": answer})


def _streamed(engine: Engine, prompt: list[int], sampling: Sampling) -> str:
    """Print an answer as it comes, and return it."""
    answer = ""
    for token in engine.stream([prompt], [sampling]):
        answer += token.text
        print(printable(token.text), end="", flush=True)
    print()
    return answer


def _lines() -> Iterator[str]:
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            line = input(prompt).strip()
        except EOFError:
            return
        if line:
            yield line
