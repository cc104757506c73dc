"""vLLM's three questions about a vocabulary: a text's ids, ids' text, and what the vocabulary is."""

from __future__ import annotations

from typing import Any

from ropewalk.engine.generate import document_prompt
from ropewalk.serve.bodies import DetokenizeBody, TokenizeBody, conversation
from ropewalk.serve.faults import Refusal
from ropewalk.serve.models import ServedModel
from ropewalk.tokenizer.chat import render_prompt
from ropewalk.tokenizer.special import BOUNDARY, PAD


def tokenized(model: ServedModel, body: TokenizeBody) -> dict[str, Any]:
    """The ids as this server would have the model read them; without `add_special_tokens`, those of the text alone.

    Raises:
        Refusal: neither a prompt nor messages, or both.
        InputError: the model was taught no conversations, or its template refuses this one.
    """
    tokenizer = model.engine.tokenizer
    ids = read_ids(model, prompt=body.prompt, messages=body.messages, boundary=body.add_special_tokens)
    strings = [tokenizer.token(token_id).decode("utf-8", "replace") for token_id in ids]
    return {
        "count": len(ids),
        "max_model_len": model.engine.model.config.context_tokens,
        "tokens": ids,
        "token_strs": strings if body.return_token_strs else None,
    }


def one_given(prompt: str | None, messages: list[Any] | None) -> None:
    """Raises Refusal: neither a prompt nor messages, or both."""
    if (prompt is None) == (messages is None):
        raise Refusal(400, "Give a prompt or messages, one of the two.", param="prompt")


def read_ids(model: ServedModel, *, prompt: str | None, messages: list[Any] | None, boundary: bool = True) -> list[int]:
    """What a model reads of a text, as it begins a document if `boundary` says so, or of a conversation that it answers.

    Raises:
        Refusal: neither a prompt nor messages, or both.
        InputError: the model was taught no conversations, or its template refuses this one.
    """
    one_given(prompt, messages)
    if messages is not None:
        return render_prompt(model.engine.tokenizer, conversation(messages))
    text = prompt or ""
    return document_prompt(model.engine, text) if boundary else model.engine.tokenizer.encode(text)


def detokenized(model: ServedModel, body: DetokenizeBody) -> dict[str, Any]:
    """The text of ids, special tokens by their names.

    Raises:
        InputError: an id is outside the vocabulary.
    """
    return {"prompt": model.engine.tokenizer.decode(body.tokens)}


def tokenizer_info(model: ServedModel) -> dict[str, Any]:
    """What transformers' tokenizer_config.json says of it."""
    tokenizer = model.engine.tokenizer
    template = tokenizer.chat_template
    names = {token_id: name for name, token_id in tokenizer.special.items()}
    ends = [names[token_id] for token_id in sorted(model.engine.stop_ids) if token_id in names]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "vocab_size": tokenizer.vocabulary,
        "model_max_length": model.engine.model.config.context_tokens,
        "eos_token": ends[0] if ends else None,
        "bos_token": BOUNDARY if BOUNDARY in tokenizer.special else None,
        "pad_token": PAD if PAD in tokenizer.special else None,
        **(dict(template.variables) if template else {}),
        "chat_template": template.text if template else None,
        "added_tokens_decoder": {str(token_id): {"content": name, "special": True} for token_id, name in names.items()},
    }
