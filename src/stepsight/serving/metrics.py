"""Numbers for Prometheus: requests, searches, tokens by what became of them, seconds to the first stage."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from stepsight.records import Trace, Usage
from stepsight.search import STRATEGIES

_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0)
_PATHS = ("/v1/chat/completions", "/v1/models", "/v1/files", "/v1/traces", "/metrics", "/health")


class Metrics:
    """The numbers of one server, in a registry of its own."""

    def __init__(self, running: Callable[[], float], waiting: Callable[[], float]) -> None:
        """Take what says how many searches run and wait."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "stepsight_requests", "Requests by path and status.", ("path", "status"), registry=self._registry
        )
        self._searches = Counter(
            "stepsight_searches",
            "Searches by strategy and how they ended.",
            ("search", "ended"),
            registry=self._registry,
        )
        self._tokens = Counter("stepsight_tokens", "Tokens by what became of them.", ("kind",), registry=self._registry)
        self._first = Histogram(
            "stepsight_first_stage_seconds",
            "From a request's arrival to its first final text.",
            ("search",),
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._whole = Histogram(
            "stepsight_search_seconds", "Of whole searches.", ("search",), registry=self._registry, buckets=_SECONDS
        )
        Gauge("stepsight_searches_running", "Searches under way.", registry=self._registry).set_function(running)
        Gauge("stepsight_searches_queued", "Requests that wait.", registry=self._registry).set_function(waiting)
        for kind in Usage.model_fields:
            self._tokens.labels(kind)
        for search in STRATEGIES:
            for ended in ("done", "cancelled", "failed"):
                self._searches.labels(search, ended)

    def answered(self, path: str, status: int) -> None:
        """A request was answered."""
        known = next((one for one in _PATHS if path == one or path.startswith(f"{one}/")), "other")
        self._requests.labels(known, str(status)).inc()

    def first_stage(self, search: str, seconds: float) -> None:
        """The first text of an answer is final."""
        self._first.labels(search).observe(seconds)

    def done(self, trace: Trace) -> None:
        """A search came to its end."""
        self._searches.labels(trace.strategy, "done").inc()
        self._whole.labels(trace.strategy).observe(trace.seconds)
        for kind, count in trace.usage.model_dump().items():
            self._tokens.labels(kind).inc(count)

    def stopped(self, search: str, ended: str) -> None:
        """A search was `cancelled`, for its client went away, or `failed`."""
        self._searches.labels(search, ended).inc()

    def text(self) -> bytes:
        """In Prometheus' own format."""
        return generate_latest(self._registry)
