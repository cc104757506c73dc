"""`ropewalk generate`: continuations in the terminal, or of a file of prompts."""

from __future__ import annotations

import time
from dataclasses import replace

from ropewalk.engine import GenerateOptions
from ropewalk.engine.engine import Engine
from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.runtime.progress import say
from ropewalk.runtime.terminal import printable
from ropewalk.tokenizer.special import BOUNDARY


def generate(options: GenerateOptions) -> None:
    """Print `options.samples` continuations to stdout and the speed to stderr."""
    slots = min(options.samples, options.slots)
    engine = load_engine(
        options.model,
        slots=slots,
        adapter=options.adapter,
        precision=options.precision,
        guess_tokens=options.guess_tokens,
        compiling=options.compile,
    )
    sampling = sampling_of(options)
    started = time.monotonic()
    if options.samples == 1:
        made = _print_stream(engine, options.prompt, sampling)
    else:
        prompt = document_prompt(engine, options.prompt)
        generations = engine.generate(
            [prompt] * options.samples, [replace(sampling, seed=options.seed + i) for i in range(options.samples)]
        )
        made = sum(len(generation.ids) for generation in generations)
        for number, generation in enumerate(generations, start=1):
            print(f"--- {number} of {options.samples}\n{options.prompt}{printable(generation.text)}")
    say(f"{made} tokens, {made / (time.monotonic() - started):,.0f}/s")


def sampling_of(options: GenerateOptions) -> Sampling:
    """How the options say that tokens are chosen."""
    return Sampling(
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        min_p=options.min_p,
        repetition_penalty=options.repetition_penalty,
        presence_penalty=options.presence_penalty,
        frequency_penalty=options.frequency_penalty,
        seed=options.seed,
    )


def _print_stream(engine: Engine, text: str, sampling: Sampling) -> int:
    """Print `text` and its continuation as it comes. Returns how many tokens were added."""
    print(text, end="", flush=True)
    last = 0
    for number, token in enumerate(engine.stream([document_prompt(engine, text)], [sampling]), start=1):
        print(printable(token.text), end="", flush=True)
        last = number
    print()
    return last


def document_prompt(engine: Engine, text: str) -> list[int]:
    """The ids of a document that begins with `text`, as in pretraining; a model made elsewhere may know no boundary."""
    boundary = engine.tokenizer.special.get(BOUNDARY)
    return [*([] if boundary is None else [boundary]), *engine.tokenizer.encode(text)]
