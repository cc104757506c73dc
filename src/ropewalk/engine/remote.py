"""Ask a server of an OpenAI-compatible API for what an engine here would make, or how probable it holds what one made."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from http.client import HTTPException
from typing import Any

from ropewalk.engine.batch import Answer, Work
from ropewalk.engine.sampling import Sampling
from ropewalk.runtime.errors import InputError, MachineError
from ropewalk.runtime.keys import VARIABLE, api_key

ATTEMPTS = 8
FIRST_BACKOFF_SECONDS = 0.5
MOST_BACKOFF_SECONDS = 30.0
PATIENCE_SECONDS = 600.0  # for one answer
SCORED_TOGETHER = 32  # sequences in a request: a server here lets as many wait
PASSING = (408, 409, 425, 429)  # and all above 499: the same request may be answered later


def answers_from(address: str, model: str, work: Iterable[Work], *, at_once: int) -> Iterator[tuple[Work, Answer]]:
    """Answer each piece of work, `at_once` of them side by side, in the order in which they come.

    What the server says is wrong with one request is that one's answer.

    Raises:
        InputError: the server wants another key, knows no such model, or is none of this kind.
        MachineError: it cannot be reached, or is too busy for minutes.
    """
    waiting = iter(work)
    with ThreadPoolExecutor(at_once) as pool:
        running: dict[Future[Answer], Work] = {}
        try:
            while True:
                while len(running) < at_once and (piece := next(waiting, None)) is not None:
                    running[pool.submit(_answer, address, model, piece)] = piece
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(done), done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def request_body(model: str, work: Work) -> tuple[str, dict[str, Any]]:
    """Path and body of the request. What OpenAI's own API does not know is only said where it changes something."""
    sampling = work.sampling
    path, asked = ("/chat/completions", {"messages": work.prompt})
    if isinstance(work.prompt, str):
        path, asked = "/completions", {"prompt": work.prompt}
    names = ("top_k", "min_p", "repetition_penalty")
    own = {name: getattr(sampling, name) for name in names if getattr(sampling, name) != getattr(Sampling, name)}
    return path, {
        "model": model,
        **asked,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "seed": sampling.seed,
        **own,
    }


def scores_from(address: str, model: str, sequences: Sequence[Sequence[int]]) -> list[list[tuple[str, float]]]:
    """How a server's model spells each token of some sequences, and how probable it holds it, in nats behind those before.

    The first of a sequence has nothing before it, and 0.

    Raises:
        InputError, MachineError: as `answers_from`; InputError too for what the server cannot read, or does not score.
    """
    found = []
    for start in range(0, len(sequences), SCORED_TOGETHER):
        prompts = [list(sequence) for sequence in sequences[start : start + SCORED_TOGETHER]]
        body = {"model": model, "prompt": prompts, "max_tokens": 0, "echo": True, "logprobs": 0, "temperature": 1.0}
        try:
            raw = _post(address, "/completions", body)
        except _RefusedError as refusal:
            raise InputError(f"{address} does not score what is said here: {refusal}") from None
        found += [_scores(address, choice, prompt) for choice, prompt in zip(_choices(address, raw), prompts, strict=True)]
    return found


def _choices(address: str, raw: bytes) -> list[dict[str, Any]]:
    try:
        return sorted(json.loads(raw)["choices"], key=lambda choice: choice["index"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{address} does not answer as OpenAI's API does: check the address") from None


def _scores(address: str, choice: dict[str, Any], prompt: Sequence[int]) -> list[tuple[str, float]]:
    told = choice.get("logprobs") or {}
    tokens, logprobs = told.get("tokens") or [], told.get("token_logprobs") or []
    if not len(tokens) == len(logprobs) >= len(prompt) or any(one is None for one in logprobs[1 : len(prompt)]):
        raise InputError(
            f"{address} does not tell how probable a prompt is: it must take echo with logprobs, as ours and vLLM do"
        )
    return [(token, float(logprob or 0.0)) for token, logprob in zip(tokens, logprobs[: len(prompt)], strict=False)]


class _RefusedError(Exception):
    """The server says what is wrong with one request."""


def _answer(address: str, model: str, work: Work) -> Answer:
    try:
        return _read(address, _post(address, *request_body(model, work)))
    except _RefusedError as refusal:
        return Answer("", "error", 0, str(refusal))


def _post(address: str, path: str, body: dict[str, Any]) -> bytes:
    """The answer's body, asked for again where it may come later."""
    request = urllib.request.Request(
        address.rstrip("/") + path,
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {api_key()}"},
    )
    said = ""
    for attempt in range(ATTEMPTS):
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            said, told = _message(error), error.headers.get("Retry-After", "")
            if error.code in (401, 403):
                raise InputError(f"{address} wants another key ({said}): set {VARIABLE}") from None
            if error.code in (404, 405):
                raise InputError(f"{address} cannot do this ({said}): check the address and the model's name") from None
            if error.code < 500 and error.code not in PASSING:
                raise _RefusedError(said) from None
            seconds = float(told) if told.isdigit() else 0.0
        except (OSError, HTTPException) as error:
            said, seconds = str(error), 0.0
        if attempt + 1 < ATTEMPTS:
            time.sleep(min(max(seconds, FIRST_BACKOFF_SECONDS * 2**attempt), MOST_BACKOFF_SECONDS))
    raise MachineError(f"{address} does not answer ({said}): see to it, the same command then carries on")


def _read(address: str, raw: bytes) -> Answer:
    try:
        made = json.loads(raw)
        choice = made["choices"][0]
        text = choice["text"] if "text" in choice else choice["message"]["content"] or ""
        return Answer(text, choice["finish_reason"] or "stop", int(made["usage"]["completion_tokens"]))
    except (ValueError, KeyError, IndexError, TypeError):
        raise InputError(f"{address} does not answer as OpenAI's API does: check the address") from None


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"]["message"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"status {error.code}"
