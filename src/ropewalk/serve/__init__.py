"""Where people and programs meet the model: the terminal, an API as OpenAI's, and a chat page.

    ropewalk chat --model runs/docs/model
    ropewalk serve --models runs/docs/model --index runs/docs/index

terminal        `ropewalk chat`
conversation    messages to a prompt, for both; what is left out when the context is full
server          `ropewalk serve`: the port, the models, the end
models          what is served, and whether an index belongs to it
runner          the thread that owns an engine
app             the routes
bodies          what clients may send
replies         tokens in OpenAI's words
tracing         an answer's passages and evidence
training_page   a page as it was read
guard           hosts, keys, sizes, security headers
faults          errors in OpenAI's form
page/           the chat page: our own HTML, CSS and JavaScript
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le


@dataclass(frozen=True)
class ChatOptions:
    """Talk to a model in the terminal."""

    model: Path
    """The model: an artifact or a Hugging Face folder."""
    system: str = ""
    """A system message for the model to follow, if it was taught to."""
    max_tokens: Annotated[int, Gt(0)] = 300
    """Most tokens an answer may have."""
    temperature: Annotated[float, Ge(0)] = 0.7
    """0 always takes the most probable token; 1 samples the model's own distribution."""
    top_k: Annotated[int, Ge(0)] = 0
    """Sample among the k most probable tokens only; 0 for all."""
    top_p: Annotated[float, Gt(0), Le(1)] = 0.95
    """Sample among the most probable tokens that together reach this probability."""
    seed: Annotated[int, Ge(0)] = 0
    """The same seed and the same words give the same answers."""


@dataclass(frozen=True)
class ServeOptions:
    """Serve models over HTTP: OpenAI's API, and a chat page that leads from answers to training pages."""

    models: tuple[Path, ...]
    """The models: artifacts or Hugging Face folders. The first is the page's choice."""
    index: Path | None = None
    """The index of their training pages; models that were not trained on these pages cannot be traced."""
    host: str = "127.0.0.1"
    """Address to listen on. One that other machines can reach needs an --api-key."""
    port: Annotated[int, Ge(0), Le(65_535)] = 8000
    """Port to listen on; 0 takes any that is free."""
    api_key: str = ""
    """What clients must send as 'Authorization: Bearer KEY' for /v1/; empty asks for nothing."""
    starters: tuple[str, ...] = ()
    """Questions that the chat page offers to begin with."""
    slots: Annotated[int, Gt(0)] = 8
    """Texts that a model writes at once."""
    queue: Annotated[int, Ge(0)] = 32
    """Texts that may wait for a slot of a model; more are refused with status 429."""


def run_serve(options: ServeOptions) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        OptionError: an address that other machines can reach, without a key.
        MachineError: the port is in use.
        InputError, ArtifactError: no model or index there, or a damaged one.
    """
    from ropewalk.serve.server import serve

    serve(options)


def run_chat(options: ChatOptions) -> None:
    """Hold a conversation on stdin and stdout until end of input or `/exit`.

    Raises:
        InputError, ArtifactError: no model there, or a damaged one.
    """
    from ropewalk.serve.terminal import chat

    chat(options)
