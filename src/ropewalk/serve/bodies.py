"""What clients may send, and what of OpenAI's fields is refused rather than passed over."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, StringConstraints

from ropewalk.engine.grammar import Grammar, one_of
from ropewalk.runtime.errors import InputError
from ropewalk.serve.faults import Refusal
from ropewalk.serve.tools import NamedTool, Tool, ToolChoice, Tools, forced_call, with_tools
from ropewalk.tokenizer.calls import CLOSE
from ropewalk.tokenizer.chat import Message, check_messages

MOST_CHOICES = 16
MOST_MESSAGES = 500
MOST_CHARACTERS = 32_000  # of one message, prompt or traced text
MOST_TOP_LOGPROBS = 20
MOST_PROMPTS = 128
MOST_BIASES = 1_024
MOST_REASONS = 8
MOST_COMMENT_CHARACTERS = 2_000

# Fields that say nothing about the text to make.
WITHOUT_EFFECT = {
    "metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "store", "user",
}  # fmt: skip
# Values of other fields that ask for what happens anyway; nothing, zero, false and empty do so everywhere.
DEFAULTS = {
    "best_of": 1,
    "modalities": ["text"],
}

Text = Annotated[str, StringConstraints(max_length=MOST_CHARACTERS)]
StopString = Annotated[str, StringConstraints(min_length=1, max_length=200)]
StopStrings = Annotated[  # one alone may stand without its list
    list[StopString], Field(max_length=4), BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Reasons = Annotated[list[Reason], Field(max_length=MOST_REASONS)]


def _prompts(value: Any) -> list[str | list[int]]:
    """One prompt or several, each a text or token ids."""
    prompts: list[Any] = value if isinstance(value, list) and not all(map(_is_id, value)) else [value]
    if not 0 < len(prompts) <= MOST_PROMPTS:
        raise ValueError(f"give 1 to {MOST_PROMPTS} prompts")
    for prompt in prompts:
        if isinstance(prompt, str) and len(prompt) > MOST_CHARACTERS:
            raise ValueError(f"a prompt has {len(prompt):,} characters, {MOST_CHARACTERS:,} are read at most: shorten it")
        if not isinstance(prompt, str) and not (isinstance(prompt, list) and all(map(_is_id, prompt))):
            raise ValueError("give a text, a list of texts, a list of token ids, or a list of such lists")
    return prompts


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


Prompts = Annotated[
    list[str | list[int]],
    PlainValidator(_prompts, json_schema_input_type=Text | list[Text] | list[TokenId] | list[list[TokenId]]),
]


class JsonSchema(BaseModel):
    """OpenAI's envelope of a schema; what else it says changes nothing here."""

    schema_: Annotated[dict[str, Any] | bool, Field(alias="schema")]


class ResponseFormat(BaseModel):
    """OpenAI's wish for JSON."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StructuredOutputs(BaseModel):
    """vLLM's wish for a form: one of these."""

    model_config = ConfigDict(extra="forbid")

    json_: Annotated[dict[str, Any] | str | None, Field(alias="json")] = None
    json_object: bool | None = None
    regex: Annotated[str, StringConstraints(max_length=MOST_CHARACTERS)] | None = None
    choice: Annotated[list[Annotated[str, StringConstraints(min_length=1)]], Field(min_length=1)] | None = None


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
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=10)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: Annotated[dict[TokenId, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=MOST_BIASES)] | None = (
        None
    )
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream is to end with the number of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def grammar(self) -> Grammar | None:
        """What the text is to match.

        Raises:
            Refusal: two wishes at once, or one without its schema.
        """
        return self._one(_from_format(self.response_format) + _from_structure(self.structured_outputs))

    def stops(self) -> tuple[str, ...]:
        """The strings that end the text."""
        return tuple(self.stop or ())

    def _one(self, wishes: list[Grammar]) -> Grammar | None:
        if len(wishes) > 1:
            raise Refusal(400, "Ask for one form of the text: a schema, a regex or choices.", param="structured_outputs")
        return wishes[0] if wishes else None

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
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None

    def offered(self) -> list[Tool]:
        """The tools that may be called."""
        return [] if self.tool_choice == "none" else self.tools or []

    def conversation(self) -> list[Message]:
        """The messages, checked, and the tools. Raises Refusal: what is wrong with one of them."""
        messages = conversation(self.messages)
        return with_tools(messages, self.offered()) if self.offered() else messages

    def grammar(self) -> Grammar | None:
        """What the text is to match; also a call that must be made."""
        wishes = _from_format(self.response_format) + _from_structure(self.structured_outputs)
        if self.tool_choice in (None, "none", "auto"):
            return self._one(wishes)
        named = self.tool_choice.function.name if isinstance(self.tool_choice, NamedTool) else None
        forced = [tool for tool in self.offered() if named in (None, tool.function.name)]
        if not forced:
            raise Refusal(400, "tool_choice asks for a tool that is not among tools: add it there.", param="tool_choice")
        return self._one([*wishes, forced_call(forced)])

    def stops(self) -> tuple[str, ...]:
        """Also the end of a first call, where there may be no second."""
        once = self.parallel_tool_calls is False and bool(self.offered())
        return (*super().stops(), CLOSE) if once else super().stops()


class CompletionBody(Body):
    """POST /v1/completions."""

    prompt: Prompts = Field(default_factory=lambda: [""])
    max_tokens: Annotated[int, Field(ge=0)] | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=MOST_TOP_LOGPROBS)] | None = None


class TokenizeBody(BaseModel):
    """POST /tokenize, vLLM's: a prompt, or a conversation as the model reads it. Without a model, the first."""

    model: str | None = None
    prompt: Text | None = None
    add_special_tokens: bool = True
    messages: Annotated[list[Any], Field(min_length=1, max_length=MOST_MESSAGES)] | None = None
    return_token_strs: bool | None = None


class DetokenizeBody(BaseModel):
    """POST /detokenize, vLLM's."""

    model: str | None = None
    tokens: Annotated[list[TokenId], Field(max_length=MOST_CHARACTERS)]


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


class JudgedAnswer(BaseModel):
    """An answer of /v1/chat/completions, by the response's id and the choice's index."""

    id: Annotated[str, StringConstraints(pattern="^chatcmpl-[0-9a-f]{32}$")]
    choice: Annotated[int, Field(ge=0, lt=MOST_CHOICES)] = 0


class _Judgement(BaseModel):
    model_config = ConfigDict(extra="forbid")

    comment: Annotated[str, StringConstraints(max_length=MOST_COMMENT_CHARACTERS)] = ""


class ThumbBody(_Judgement):
    """POST /v1/feedback: an answer is good, or it is not."""

    kind: Literal["thumb"]
    answer: JudgedAnswer
    good: bool
    reasons: Reasons = Field(default_factory=list)


class ChoiceBody(_Judgement):
    """POST /v1/feedback: of two answers to one conversation, shown side by side, one is better, or they are alike."""

    kind: Literal["choice"]
    left: JudgedAnswer
    right: JudgedAnswer
    preferred: Literal["left", "right", "tie", "neither"]
    reasons: Reasons = Field(default_factory=list)


class EditBody(_Judgement):
    """POST /v1/feedback: how an answer should have been."""

    kind: Literal["edit"]
    answer: JudgedAnswer
    text: Annotated[str, StringConstraints(min_length=1, max_length=MOST_CHARACTERS)]


JudgementBody = Annotated[ThumbBody | ChoiceBody | EditBody, Field(discriminator="kind")]


def conversation(messages: list[Any]) -> list[Message]:
    """Messages out of JSON, checked.

    Raises:
        Refusal: what is wrong with one of them.
    """
    try:
        checked = check_messages([_plain(message) for message in messages], where="messages")
    except InputError as error:
        raise Refusal(400, f"{error}.", param="messages") from None
    for number, message in enumerate(checked, start=1):
        if len(message["content"]) > MOST_CHARACTERS:
            raise Refusal(
                400,
                f"Message {number} has {len(message['content']):,} characters, {MOST_CHARACTERS:,} are read at most: "
                "shorten it.",
                param="messages",
            )
    return checked


def _from_format(wish: ResponseFormat | None) -> list[Grammar]:
    if wish is None or wish.type == "text":
        return []
    if wish.type == "json_object":
        return [Grammar("json", '{"type":"object"}')]
    if wish.json_schema is None:
        raise Refusal(400, "response_format has no json_schema: give one with its schema.", param="response_format")
    return [Grammar("json", json.dumps(wish.json_schema.schema_))]


def _from_structure(wish: StructuredOutputs | None) -> list[Grammar]:
    if wish is None:
        return []
    found = []
    if wish.json_ is not None:
        found.append(Grammar("json", wish.json_ if isinstance(wish.json_, str) else json.dumps(wish.json_)))
    if wish.json_object:
        found.append(Grammar("json", '{"type":"object"}'))
    if wish.regex is not None:
        found.append(Grammar("regex", wish.regex))
    if wish.choice is not None:
        found.append(one_of(wish.choice))
    return found


def _plain(message: Any) -> Any:
    """A message with its parts joined, and OpenAI's newer role in the old words."""
    if not isinstance(message, dict):
        return message
    plain = dict(message)
    if plain.get("role") == "developer":
        plain["role"] = "system"
    parts = plain.get("content")
    if isinstance(parts, list) and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        plain["content"] = "".join(part["text"] for part in parts)
    return plain
