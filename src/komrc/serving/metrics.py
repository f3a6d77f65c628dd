"""The metrics of ``/metrics``, for Prometheus. With several workers, their values are summed."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus-client's own variable; set before it is imported

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one server process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.requests = Counter("komrc_requests", "Requests answered", ["route", "status"], registry=r)
        self.request_seconds = Histogram(
            "komrc_request_seconds",
            "From the request's headers to its answer",
            ["route"],
            buckets=_SECONDS,
            registry=r,
        )
        self.queue_length = Gauge(
            "komrc_queue_length",
            "Pairs accepted and not yet answered",
            registry=r,
            multiprocess_mode="livesum",
        )
        self.batch_windows = Histogram(
            "komrc_batch_windows", "Windows in a batch", buckets=_SIZES, registry=r
        )
        self.batch_tokens = Histogram(
            "komrc_batch_tokens",
            "Tokens in a batch, without padding",
            buckets=(128, 256, 512, 1024, 2048, 4096, 8192),
            registry=r,
        )
        self.tokens = Counter("komrc_tokens", "Tokens the engine has read, without padding", registry=r)
        self.queue_seconds = Histogram(
            "komrc_queue_seconds", "From tokenized to the engine", buckets=_SECONDS, registry=r
        )
        self.tokenize_seconds = Histogram(
            "komrc_tokenize_seconds",
            "Tokenizing and cutting windows, a request",
            buckets=_SECONDS,
            registry=r,
        )
        self.infer_seconds = Histogram(
            "komrc_infer_seconds", "The engine, a batch", buckets=_SECONDS, registry=r
        )
        self.search_seconds = Histogram(
            "komrc_search_seconds", "Searching the index, a request", buckets=_SECONDS, registry=r
        )
        self.uploads = Counter(
            "komrc_uploads", "Files that were sent for the index", ["result"], registry=r
        )  # result: indexed; unread, also if only a part of it was
        self.cache = Counter(
            "komrc_answer_cache", "Pairs looked up among remembered answers", ["result"], registry=r
        )

    def batch(self, windows: int, tokens: int, seconds: float) -> None:
        """Record a batch of the engine."""
        self.batch_windows.observe(windows)
        self.batch_tokens.observe(tokens)
        self.tokens.inc(tokens)
        self.infer_seconds.observe(seconds)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        if os.environ.get(SHARED_FOLDER):
            together = CollectorRegistry()
            MultiProcessCollector(together)  # type: ignore[no-untyped-call]
            return generate_latest(together)
        return generate_latest(self.registry)
