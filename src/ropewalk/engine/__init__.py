"""The one inference engine: text from a model, for the terminal, evaluation, rollouts and the server.

ropewalk generate --model runs/docs/model --prompt "To sort a list"
ropewalk generate --model runs/docs/model --from prompts.parquet --out answers.parquet

engine      requests in a batch: submit, step, cancel; generate and stream over them
graphs      the same on a GPU, as CUDA graphs
pages       who holds which page of the cache
guessing    how a text goes on where it repeats itself
load        an engine from a model folder
sampling    temperature, top-k, top-p, min-p, seeds
weighing    penalties and biases
grammar     texts that match a JSON schema or a regular expression
stopping    strings that end a text
batch       a file of prompts
remote      the same through a server
confidence  how sure a model was of an answer
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le

from ropewalk.model import Compile, Precision
from ropewalk.runtime.errors import OptionError


@dataclass(frozen=True)
class GenerateOptions:
    """Continue a text, or answer a file of prompts."""

    model: Path
    """The model: an artifact or a Hugging Face folder; with --address, its name there."""
    adapter: Path | None = None
    """A LoRA adapter to speak through, as `runs/tiny/sft/adapter`: a folder in PEFT's format."""
    prompt: str = ""
    """The text to continue; empty starts a document."""
    from_: Path | None = None
    """A file of prompts in its place, JSONL or Parquet: each row has `prompt`, a text, or `messages`, a conversation."""
    out: Path | None = None
    """Where the rows of --from go with their answers, a .jsonl or .parquet file. A killed run carries on."""
    address: str = ""
    """Ask a server of OpenAI's API instead, as in http://127.0.0.1:8000/v1; OPENAI_API_KEY is its key. For --from."""
    slots: Annotated[int, Gt(0)] = 16
    """Texts that are written at once."""
    precision: Precision = "auto"
    """In what the model computes: float32, or bfloat16 on a GPU; bfloat16 and int8 (CPU) are faster and nearly the same."""
    compile: Compile = "auto"
    """auto takes tokens through compiled loops on a CPU (float32 and int8; 20 s to compile, once on a machine), and through
    CUDA graphs on a GPU; off goes operation by operation. The last bits differ."""
    guess_tokens: Annotated[int, Ge(0)] = 0
    """Tokens to guess from what a text repeats, checked in one pass; no text changes, and few at once come faster."""
    max_tokens: Annotated[int, Gt(0)] = 200
    """Most tokens to add."""
    temperature: Annotated[float, Ge(0)] = 0.7
    """0 always takes the most probable token; 1 samples the model's own distribution."""
    top_k: Annotated[int, Ge(0)] = 0
    """Sample among the k most probable tokens only; 0 for all."""
    top_p: Annotated[float, Gt(0), Le(1)] = 0.95
    """Sample among the most probable tokens that together reach this probability."""
    min_p: Annotated[float, Ge(0), Le(1)] = 0.0
    """Leave out tokens less probable than this fraction of the most probable one's probability."""
    repetition_penalty: Annotated[float, Ge(0.01)] = 1.0
    """Divide the scores of tokens that occurred, in the prompt too, by this (multiply negative ones); 1 for nothing."""
    presence_penalty: Annotated[float, Ge(-2), Le(2)] = 0.0
    """Take this off the scores of tokens that occurred in the answer."""
    frequency_penalty: Annotated[float, Ge(-2), Le(2)] = 0.0
    """Take this off the scores of tokens for each time that they occurred in the answer."""
    seed: Annotated[int, Ge(0)] = 0
    """The same seed gives the same text."""
    samples: Annotated[int, Gt(0)] = 1
    """Texts to generate, side by side in one batch, at seeds `seed`, `seed` + 1, ..."""


def run_generate(options: GenerateOptions) -> None:
    """Print continuations to stdout, streaming when there is one; or answer a file of prompts.

    Raises:
        InputError: no model there, a prompt longer than its context, or a file that cannot be read.
        OptionError: options that do not go together.
    """
    if options.from_ is not None:
        if options.prompt:
            raise OptionError("ropewalk generate: give --prompt or --from, one of the two")
        from ropewalk.engine.batch import run_batch

        run_batch(options)
        return
    if options.out is not None or options.address:
        raise OptionError("ropewalk generate: --out and --address go with --from")
    from ropewalk.engine.generate import generate

    generate(options)
