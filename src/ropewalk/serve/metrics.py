"""What Prometheus may know of a server: how many requests, how many tokens, how long they took.

prometheus_client is imported here alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from ropewalk.engine.engine import Engine, Token

MEDIA_TYPE = CONTENT_TYPE_LATEST
FIRST_TOKEN_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
BETWEEN_TOKENS_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
WHOLE_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300)


class Metrics:
    """All of a server's, in a registry of their own. Lives on the event loop."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        named = {"registry": self.registry, "namespace": "ropewalk"}
        self.running = Gauge("requests_running", "Texts being written.", ["model"], **named)
        self.waiting = Gauge("requests_waiting", "Texts that wait for a slot.", ["model"], **named)
        self.held_fraction = Gauge("cache_held_fraction", "Share of the cache that texts hold.", ["model"], **named)
        since = "since the model was loaded."
        self.found_tokens = Gauge("cache_found_tokens", f"Tokens of prompts found in the cache, {since}", ["model"], **named)
        self.read_tokens = Gauge(
            "cache_read_tokens", f"Tokens of prompts not found there and read, {since}", ["model"], **named
        )
        self.preemptions = Gauge(
            "preemptions", f"Texts that gave up their place in a full cache, {since}", ["model"], **named
        )
        self.prompt_tokens = Counter("prompt_tokens", "Tokens of prompts that were read.", ["model"], **named)
        self.made_tokens = Counter("generation_tokens", "Tokens written.", ["model"], **named)
        self.finished = Counter(
            "requests_finished", "Texts by how they ended: stop, length, error or abort.", ["model", "reason"], **named
        )
        self.responses = Counter("http_responses", "Responses by route and status.", ["path", "status"], **named)
        self.first_token_seconds = Histogram(
            "time_to_first_token_seconds",
            "From a request to its first token.",
            ["model"],
            buckets=FIRST_TOKEN_SECONDS,
            **named,
        )
        self.between_tokens_seconds = Histogram(
            "inter_token_latency_seconds", "Between a text's tokens.", ["model"], buckets=BETWEEN_TOKENS_SECONDS, **named
        )
        self.whole_seconds = Histogram(
            "request_seconds", "From a request to the end of its text.", ["model"], buckets=WHOLE_SECONDS, **named
        )

    def text(self) -> bytes:
        """All of them in Prometheus' text form."""
        return generate_latest(self.registry)

    def of(self, model: str, engine: Engine) -> ModelMetrics:
        """One model's; its engine is asked when Prometheus asks."""
        asked: dict[Gauge, Callable[[], float]] = {
            self.running: lambda: engine.running,
            self.waiting: lambda: engine.waiting,
            self.held_fraction: lambda: engine.pages.held / engine.pages.count,
            self.found_tokens: lambda: engine.counts.found_tokens,
            self.read_tokens: lambda: engine.counts.read_tokens,
            self.preemptions: lambda: engine.counts.preemptions,
        }
        for gauge, ask in asked.items():
            gauge.labels(model).set_function(ask)
        return ModelMetrics(self, model)


class ModelMetrics:
    """One model's."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._finished, self._model = metrics.finished, model
        self._prompt_tokens = metrics.prompt_tokens.labels(model)
        self._made_tokens = metrics.made_tokens.labels(model)
        self._first_token_seconds = metrics.first_token_seconds.labels(model)
        self._between_tokens_seconds = metrics.between_tokens_seconds.labels(model)
        self._whole_seconds = metrics.whole_seconds.labels(model)

    def begun(self, prompt: Sequence[int]) -> Clock:
        """A text was asked for."""
        self._prompt_tokens.inc(len(prompt))
        return Clock()

    def made(self, token: Token, clock: Clock) -> None:
        """A token of it has come."""
        now = time.monotonic()
        self._made_tokens.inc()
        seconds = self._first_token_seconds if clock.newest is None else self._between_tokens_seconds
        seconds.observe(now - (clock.newest or clock.begun))
        clock.newest = now
        if token.finish is not None:
            self._finished.labels(self._model, token.finish).inc()
            self._whole_seconds.observe(now - clock.begun)

    def aborted(self) -> None:
        """Nobody wants the rest of it."""
        self._finished.labels(self._model, "abort").inc()


class Clock:
    """When a text was asked for, and when its newest token came, in seconds of a clock that only goes on."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.newest: float | None = None
