"""Metrics for Prometheus, made of the telemetry events.

::

    metrics = PrometheusMetrics()
    kit = Notifykit("postgresql://…", subscribers=[metrics])
    app = Starlette(routes=[Mount("/metrics", prometheus_client.make_asgi_app())])

Labels have few values whatever happens: no tenant, no endpoint, no reason is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifykit.errors import MissingExtraError
from notifykit.telemetry import (
    AddressGone,
    CircuitClosed,
    CircuitOpened,
    ClaimLost,
    DeliveryAbandoned,
    DeliveryAttempted,
    DeliveryNotSent,
    EndpointDisabled,
    EventsPlanned,
    LoopFailed,
    TelemetryEvent,
)

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ImportError as error:
    raise MissingExtraError("metrics for Prometheus", "prometheus") from error

if TYPE_CHECKING:
    from notifykit import Notifykit

__all__ = ["PrometheusMetrics"]

#: Seconds: an attempt takes milliseconds to half a minute, a delivery that is retried waits for hours.
_ATTEMPT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_WAIT = (0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 1800, 7200, 36_000)


class PrometheusMetrics:
    """A subscriber of telemetry events that counts.

    Args:
        registry: Where the metrics are registered; by default that of the process.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"notifykit_{name}", text, labels, registry=registry)

        self._attempts = counter("attempts", "Attempts by outcome.", "channel", "outcome")
        self._decisions = counter("decisions", "What followed attempts.", "channel", "decision")
        self._took = Histogram(
            "notifykit_attempt_seconds", "How long attempts took.", ["channel"], buckets=_ATTEMPT, registry=registry
        )
        self._waited = Histogram(
            "notifykit_wait_seconds",
            "From publishing to the first attempt.",
            ["channel"],
            buckets=_WAIT,
            registry=registry,
        )
        self._not_sent = counter("not_sent", "Claimed deliveries that were not sent.", "decision")
        self._events = counter("events_planned", "Events that were turned into deliveries.")
        self._deliveries = counter("deliveries_planned", "Deliveries that were made of events.")
        self._abandoned = counter("abandoned", "Leases that ran out: a worker died or hung.")
        self._lost = counter("claims_lost", "Results that came too late.")
        self._circuits = counter("circuits", "Circuits that were opened or closed.", "change")
        self._disabled = counter("endpoints_disabled", "Endpoints that were disabled.")
        self._gone = counter("addresses_gone", "Addresses that are gone for good.", "channel")
        self._failures = counter("loop_failures", "Failures of a worker's loops.", "loop")
        self._backlog = Gauge(
            "notifykit_backlog", "Work that waits; counts stop at 10,000.", ["state"], registry=registry
        )
        self._oldest = Gauge(
            "notifykit_oldest_due_seconds", "For how long the most overdue work waits.", registry=registry
        )

    def __call__(self, event: TelemetryEvent) -> None:
        """Count an event."""
        match event:
            case DeliveryAttempted():
                self._attempts.labels(event.channel, event.outcome).inc()
                self._decisions.labels(event.channel, event.decision).inc()
                self._took.labels(event.channel).observe(event.took.total_seconds())
                if event.attempt == 1:
                    self._waited.labels(event.channel).observe(event.waited.total_seconds())
            case DeliveryNotSent():
                self._not_sent.labels(event.decision).inc()
            case EventsPlanned():
                self._events.inc(event.events)
                self._deliveries.inc(event.deliveries)
            case DeliveryAbandoned():
                self._abandoned.inc()
            case ClaimLost():
                self._lost.inc()
            case CircuitOpened():
                self._circuits.labels("opened").inc()
            case CircuitClosed():
                self._circuits.labels("closed").inc()
            case EndpointDisabled():
                self._disabled.inc()
            case AddressGone():
                self._gone.labels(event.channel).inc()
            case LoopFailed():
                self._failures.labels(event.loop.partition(" ")[0]).inc()
            case _:
                pass

    async def observe(self, kit: Notifykit) -> None:
        """Read how much work waits; call it as often as the metrics are read, in one process."""
        stats = await kit.stats()
        for state in ("unplanned", "waiting", "sending", "dead"):
            self._backlog.labels(state).set(getattr(stats, state))
        waits = 0.0 if stats.oldest_due is None else (kit.clock.now() - stats.oldest_due).total_seconds()
        self._oldest.set(max(0.0, waits))
