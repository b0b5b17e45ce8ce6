"""Figures of the running service in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from crossrec.serving.hot_swap import ServedRun

MEDIA_TYPE = CONTENT_TYPE_LATEST
OTHER = "other"
"""Label of paths that the service does not have, so that clients cannot make up labels."""


class Metrics:
    """Requests by path and status, their durations, requests in progress, and the served runs.

    ``paths``: the paths to tell apart. Each service has figures of its own.
    """

    def __init__(self) -> None:
        self.paths: frozenset[str] = frozenset()
        self._registry = CollectorRegistry()
        own = self._registry
        self._requests = Counter("crossrec_requests", "Requests answered.", ["path", "status"], registry=own)
        self._seconds = Histogram("crossrec_request_seconds", "Time to the answer.", ["path"], registry=own)
        self._busy = Gauge("crossrec_requests_active", "Requests in progress or waiting.", registry=own)
        self._swaps = Gauge("crossrec_run_swaps", "How often the run was replaced.", ["run"], registry=own)
        self._refused = Gauge("crossrec_run_refused", "1 while the newest run is not served.", ["run"], registry=own)

    def observe(self, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        label = path if path in self.paths else OTHER
        self._requests.labels(label, str(status)).inc()
        self._seconds.labels(label).observe(seconds)

    def render(self, busy: int, runs: Sequence[ServedRun]) -> bytes:
        """The figures as text."""
        self._busy.set(busy)
        for number, run in enumerate(runs, 1):
            self._swaps.labels(str(number)).set(run.swaps)
            self._refused.labels(str(number)).set(run.refused is not None)
        return generate_latest(self._registry)
