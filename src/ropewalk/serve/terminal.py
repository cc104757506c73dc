"""`ropewalk chat`: one conversation on stdin and stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ropewalk.engine.engine import Engine
from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.engine.tools import Heard, Tool, conversing, tools_of
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.runtime.progress import say
from ropewalk.runtime.terminal import one_line, printable
from ropewalk.serve import ChatOptions
from ropewalk.serve.conversation import conversation_prompt
from ropewalk.serve.models import learned_conversations
from ropewalk.serve.tools import CallReader
from ropewalk.tokenizer.chat import Message, with_told
from ropewalk.tokenizer.thinking import ThoughtReader

DIM, PLAIN = "\x1b[2m", "\x1b[0m"


def chat(options: ChatOptions) -> None:
    """Read lines, stream answers. `/new` forgets the conversation, `/exit` or end of input ends it."""
    engine = load_engine(
        options.model,
        slots=1,
        adapter=options.adapter,
        precision=options.precision,
        guess_tokens=options.guess_tokens,
        compiling=options.compile,
    )
    converses = learned_conversations(engine, options.model)
    tools = tools_of(options.tools, index=options.index)
    if tools and not converses:
        raise OptionError(f"{options.model} was taught no conversations, so it calls no tools: leave --tools out")
    if converses:
        say(f"{options.model}: /new forgets the conversation, /exit ends it")
    else:
        say(f"{options.model} has read pages but no conversations: it continues your text. /exit ends it")
    sampling = Sampling(options.max_tokens, options.temperature, options.top_k, options.top_p, options.seed)
    system: list[Message] = [{"role": "system", "content": options.system}] if options.system else []
    opening = with_told(system, [tool.described for tool in tools])
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
            drawn = replace(sampling, seed=options.seed + turn)
            messages += _streamed(engine, prompt.ids, drawn, tools, most_rounds=options.tool_rounds)
        except InputError as error:
            say(str(error))
            messages.pop()


def _streamed(
    engine: Engine, prompt: list[int], sampling: Sampling, tools: Sequence[Tool], *, most_rounds: int
) -> list[Message]:
    """Print an answer as it comes, what is thought before it dimly, calls of tools with what came of them.

    Returns all turns.
    """
    turns: list[Message] = [{"role": "assistant", "content": ""}]
    thoughts, calls = ThoughtReader(), CallReader([tool.name for tool in tools])
    for event in conversing(engine, [prompt], [sampling], tools, most_rounds=most_rounds):
        if isinstance(event, Heard):
            for call, result in zip(event.calls, event.results, strict=True):
                given = ", ".join(map(str, call.arguments.values()))
                say(one_line(f"({call.name}: {given} -> {result})"))
            for result in event.results:
                turns.append({"role": "tool", "content": result})
            turns.append({"role": "assistant", "content": ""})
            thoughts = ThoughtReader()
            continue
        turns[-1]["content"] += event.text
        thought, said = thoughts.push(event.text)
        if event.finish is not None:
            more_thought, rest = thoughts.flush()
            thought, said = thought + more_thought, said + rest
        if tools:
            said, _ = calls.push(said)
            said += calls.flush()[0] if event.finish is not None else ""
        if sys.stdout.isatty() and thought:  # a program that reads the answers wants no more than these
            print(f"{DIM}{printable(thought)}{PLAIN}", end="" if not said else "\n", flush=True)
        print(printable(said), end="", flush=True)
    print()
    return turns


def _lines() -> Iterator[str]:
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            line = input(prompt).strip()
        except EOFError:
            return
        if line:
            yield line
