"""Metrics and traces for OpenTelemetry, made of the telemetry events.

::

    telemetry = OpenTelemetry()
    kit = Notifykit("postgresql://…", subscribers=[telemetry], trace=telemetry.traceparent)

Publishing is a span in the trace of the caller.  Its ``traceparent`` is stored with the event and sent to receivers of
webhooks, and each attempt is a span below it, in whichever process and however much later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifykit.contrib.measures import MEASURES, Measurement, looked_at, measurements
from notifykit.distribution import version
from notifykit.errors import MissingExtraError
from notifykit.telemetry import DeliveryAttempted, TelemetryEvent

try:
    from opentelemetry.metrics import MeterProvider, get_meter_provider
    from opentelemetry.trace import (
        SpanKind,
        Status,
        StatusCode,
        TracerProvider,
        get_tracer_provider,
        set_span_in_context,
    )
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise MissingExtraError("metrics and traces for OpenTelemetry", "opentelemetry") from error

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram
    from opentelemetry.metrics import _Gauge as Gauge

    from notifykit import Notifykit

__all__ = ["OpenTelemetry"]

_PROPAGATOR = TraceContextTextMapPropagator()


class OpenTelemetry:
    """A subscriber of telemetry events that measures and traces.

    The metrics are those of :class:`notifykit.contrib.prometheus.PrometheusMetrics`, with full stops in their names:
    ``notifykit.attempts``, ``notifykit.attempt.seconds``.

    Args:
        meters: Where metrics go; by default the provider of the process.
        tracers: Where spans go; by default the provider of the process.
    """

    def __init__(self, *, meters: MeterProvider | None = None, tracers: TracerProvider | None = None) -> None:
        meter = (meters or get_meter_provider()).get_meter("notifykit", version())
        self._tracer = (tracers or get_tracer_provider()).get_tracer("notifykit", version())
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for kind, name, text, _, buckets in MEASURES:
            full, unit = f"notifykit.{name.replace('_', '.')}", "s" if name.endswith("_seconds") else "1"
            match kind:
                case "counter":
                    self._counters[name] = meter.create_counter(full, unit, text)
                case "gauge":
                    self._gauges[name] = meter.create_gauge(full, unit, text)
                case "histogram":
                    self._histograms[name] = meter.create_histogram(
                        full, unit, text, explicit_bucket_boundaries_advisory=buckets
                    )
        self._lanes: dict[tuple[str, tuple[str, ...]], Measurement] = {}

    def traceparent(self, event_type: str) -> str | None:
        """Add the span of a publish to the current trace, and return what continues it: ``Notifykit(trace=…)``."""
        with self._tracer.start_span(
            f"publish {event_type}",
            kind=SpanKind.PRODUCER,
            attributes={"messaging.system": "notifykit", "messaging.operation.type": "send"},
        ) as span:
            carrier: dict[str, str] = {}
            _PROPAGATOR.inject(carrier, set_span_in_context(span))
        return carrier.get("traceparent")  # there is none without a provider of tracers

    def __call__(self, event: TelemetryEvent) -> None:
        """Measure an event, and trace it if it is an attempt of a delivery."""
        for each in measurements(event):
            self._add(each)
        if isinstance(event, DeliveryAttempted) and event.finished_at is not None:
            self._trace(event)

    async def observe(self, kit: Notifykit) -> None:
        """Read how much work waits; call it as often as metrics are exported, in one process."""
        found = await looked_at(kit)
        now = {(each.measure.name, each.labels): each for each in found if each.labels}
        gone = [each._replace(number=0) for key, each in self._lanes.items() if key not in now]
        for each in (*found, *gone):
            self._add(each)
        self._lanes |= now

    def _add(self, measurement: Measurement) -> None:
        measure, number, labels = measurement
        attributes = dict(zip(measure.labels, labels, strict=True))
        match measure.kind:
            case "counter":
                self._counters[measure.name].add(number, attributes)
            case "gauge":
                self._gauges[measure.name].set(number, attributes)
            case "histogram":
                self._histograms[measure.name].record(number, attributes)

    def _trace(self, event: DeliveryAttempted) -> None:
        assert event.finished_at is not None
        parent = _PROPAGATOR.extract({} if event.trace is None else {"traceparent": event.trace})
        end = int(event.finished_at.timestamp() * 1_000_000) * 1_000
        attributes: dict[str, str | int] = {
            "messaging.system": "notifykit",
            "messaging.message.id": event.event_id,
            "notifykit.event.type": event.event_type,
            "notifykit.tenant": event.tenant,
            "notifykit.delivery.id": event.delivery_id,
            "notifykit.subscriber.id": event.subscriber_id,
            "notifykit.channel": event.channel,
            "notifykit.attempt": event.attempt,
            "notifykit.outcome": event.outcome,
            "notifykit.decision": event.decision,
        }
        optional = {
            "error.type": event.reason,
            "http.response.status_code": event.status,
            "notifykit.account": event.account,
        }
        span = self._tracer.start_span(
            f"attempt {event.channel}",
            parent,
            SpanKind.CLIENT,
            {**attributes, **{name: value for name, value in optional.items() if value is not None}},
            start_time=end - int(event.took.total_seconds() * 1e6) * 1_000,
        )
        if event.outcome != "accepted":
            span.set_status(Status(StatusCode.ERROR, event.reason))
        span.end(end)
