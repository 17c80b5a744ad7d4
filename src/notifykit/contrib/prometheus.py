"""Metrics for Prometheus, made of the telemetry events.

::

    metrics = PrometheusMetrics()
    kit = Notifykit("postgresql://…", subscribers=[metrics])
    app = Starlette(routes=[Mount("/metrics", prometheus_client.make_asgi_app())])

Labels have few values whatever happens: no tenant, no endpoint, no reason is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifykit.contrib.measures import MEASURES, Measurement, looked_at, measurements
from notifykit.errors import MissingExtraError
from notifykit.telemetry import TelemetryEvent

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ImportError as error:
    raise MissingExtraError("metrics for Prometheus", "prometheus") from error

if TYPE_CHECKING:
    from notifykit import Notifykit

__all__ = ["PrometheusMetrics"]


class PrometheusMetrics:
    """A subscriber of telemetry events that counts.

    Args:
        registry: Where the metrics are registered; by default that of the process.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._metrics: dict[str, Counter | Gauge | Histogram] = {}
        for kind, name, text, labels, buckets in MEASURES:
            full = f"notifykit_{name}"
            if kind == "histogram":
                self._metrics[name] = Histogram(full, text, labels, buckets=buckets, registry=registry)
            else:
                made = Counter if kind == "counter" else Gauge
                self._metrics[name] = made(full, text, labels, registry=registry)
        self._lanes: set[tuple[str, tuple[str, ...]]] = set()

    def __call__(self, event: TelemetryEvent) -> None:
        """Count an event."""
        for each in measurements(event):
            self._add(each)

    async def observe(self, kit: Notifykit) -> None:
        """Read how much work waits; call it as often as the metrics are read, in one process."""
        found = await looked_at(kit)
        for each in found:
            self._add(each)
        now = {(each.measure.name, each.labels) for each in found if each.labels}
        for name, labels in self._lanes - now:  # a lane in which nothing waits any more
            self._metrics[name].labels(*labels).set(0)  # type: ignore[union-attr]
        self._lanes |= now

    def _add(self, measurement: Measurement) -> None:
        measure, number, labels = measurement
        metric = self._metrics[measure.name]
        if labels:
            metric = metric.labels(*labels)
        match metric:
            case Counter():
                metric.inc(number)
            case Gauge():
                metric.set(number)
            case Histogram():
                metric.observe(number)
