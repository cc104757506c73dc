"""What clients may send, and what of OpenAI's fields is refused rather than passed over."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from ropewalk.runtime.errors import InputError
from ropewalk.serve.faults import Refusal
from ropewalk.tokenizer.chat import Message, check_messages

MOST_CHOICES = 16
MOST_MESSAGES = 500
MOST_CHARACTERS = 32_000  # of one message, prompt or traced text
MOST_TOP_LOGPROBS = 20

# Fields that say nothing about the text to make.
WITHOUT_EFFECT = {
    "metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "store", "user",
}  # fmt: skip
# Values of other fields that ask for what happens anyway; nothing, zero, false and empty do so everywhere.
DEFAULTS = {
    "response_format": {"type": "text"},
    "tool_choice": "none",
    "parallel_tool_calls": True,
    "best_of": 1,
    "modalities": ["text"],
}

Text = Annotated[str, StringConstraints(max_length=MOST_CHARACTERS)]
StopString = Annotated[str, StringConstraints(min_length=1, max_length=200)]
StopStrings = Annotated[  # one alone may stand without its list
    list[StopString], Field(max_length=4), BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
]


class StreamOptions(BaseModel):
    """include_usage: end the stream with a chunk that counts the tokens."""

    include_usage: bool = False


class Body(BaseModel):
    """What chat and plain completions share. A field that is null counts as left out."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: StopStrings | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None

    def refuse_unknown(self) -> None:
        """Raise Refusal for a field that we do not have and that asks for another text."""
        for name, value in (self.model_extra or {}).items():
            asks = value and value != DEFAULTS.get(name)
            if asks and name not in WITHOUT_EFFECT:
                raise Refusal(400, f"{name} is not supported here: leave it out.", param=name, code="unsupported_parameter")


class ChatBody(Body):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Any], Field(min_length=1, max_length=MOST_MESSAGES)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_TOP_LOGPROBS)] | None = None

    def conversation(self) -> list[Message]:
        """The messages, checked.

        Raises:
            Refusal: what is wrong with one of them.
        """
        try:
            messages = check_messages([_plain(message) for message in self.messages], where="messages")
        except InputError as error:
            raise Refusal(400, f"{error}.", param="messages") from None
        for number, message in enumerate(messages, start=1):
            if len(message["content"]) > MOST_CHARACTERS:
                raise Refusal(
                    400,
                    f"Message {number} has {len(message['content']):,} characters, {MOST_CHARACTERS:,} are read at most: "
                    "shorten it.",
                    param="messages",
                )
        return messages


class CompletionBody(Body):
    """POST /v1/completions."""

    prompt: Text = ""
    logprobs: Annotated[int, Field(ge=0, le=MOST_TOP_LOGPROBS)] | None = None


class TraceBody(BaseModel):
    """POST /v1/trace."""

    text: Text
    model: str
    about: Text = ""
    """What the text answers."""


class TokensBody(BaseModel):
    """POST /v1/tokens."""

    text: Text
    vocabulary: str
    """A model's name, or a title from GET /v1/vocabularies."""


def _plain(message: Any) -> Any:
    """A message with its text parts joined, and OpenAI's newer name for a system message in the old words."""
    if not isinstance(message, dict):
        return message
    plain = dict(message)
    if plain.get("role") == "developer":
        plain["role"] = "system"
    parts = plain.get("content")
    if isinstance(parts, list) and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        plain["content"] = "".join(part["text"] for part in parts)
    return plain
