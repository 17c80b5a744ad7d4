"""OpenTelemetry: one trace from the caller's span to each attempt, and the metrics that Prometheus gets."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode

from notifykit import DispatchSettings, EgressRules, Event, Notifykit, RetryPolicy
from notifykit.contrib.opentelemetry import OpenTelemetry
from notifykit.models.outcome import Accepted, Outcome, Transient
from notifykit.testing import FakeClock
from tests.unit.channels.receivers import Receiver as RawReceiver
from tests.unit.channels.receivers import always_ok
from tests.unit.dispatch.support import ScriptedChannel

ACME = "acme"


def local_egress() -> EgressRules:
    return EgressRules(allow=["127.0.0.0/8"], allow_http=True)


def _number(point: Any) -> float:
    return float(point.value if hasattr(point, "value") else point.sum)


class Collected:
    """Providers that keep what is exported."""

    def __init__(self) -> None:
        self.spans = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])

    def points(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Return the points of each metric by the values of their attributes; of histograms their sums."""
        data = self._reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: {
                tuple(map(str, (point.attributes or {}).values())): _number(point) for point in metric.data.data_points
            }
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def collected():
    found = Collected()
    yield found
    found.meters.shutdown()
    found.tracers.shutdown()


@pytest.fixture
def telemetry(collected):
    return OpenTelemetry(meters=collected.meters, tracers=collected.tracers)


async def drained(kit: Notifykit, channel: ScriptedChannel, **settings: Any) -> None:
    dispatcher = kit.dispatcher([channel], DispatchSettings(**settings))
    while await dispatcher.step():
        pass


async def test_a_trace_leads_from_the_caller_to_each_attempt(collected, telemetry):
    """Publishing is a span below the caller's, and both attempts are below that of the publish, with their times."""
    answers: list[Outcome] = [Accepted(), Transient(reason="http_503")]
    clock = FakeClock()
    async with Notifykit(
        "memory://", clock=clock, egress=local_egress(), subscribers=[telemetry], trace=telemetry.traceparent
    ) as kit:
        await kit.subscribe(
            "**", tenant=ACME, endpoint="http://127.0.0.1:8081/", retry=RetryPolicy(delays=(timedelta(seconds=5),))
        )
        with collected.tracers.get_tracer("shop").start_as_current_span("checkout"):
            await kit.apublish(Event(type="order.placed", data={}), tenant=ACME)
        for _ in range(2):
            await drained(kit, ScriptedChannel(lambda _: answers.pop()))
            clock.advance(timedelta(minutes=1))

    publish, checkout, first, second = collected.spans.get_finished_spans()
    assert ("publish order.placed", SpanKind.PRODUCER) == (publish.name, publish.kind)
    assert checkout.context.span_id == publish.parent.span_id
    assert ["attempt webhook"] * 2 == [first.name, second.name]
    assert {publish.context.trace_id} == {span.context.trace_id for span in (first, second)}
    assert [publish.context.span_id] * 2 == [span.parent.span_id for span in (first, second)]
    assert [StatusCode.ERROR, StatusCode.UNSET] == [span.status.status_code for span in (first, second)]
    assert [("http_503", "retry", 1), (None, "complete", 2)] == [
        tuple(span.attributes.get(name) for name in ("error.type", "notifykit.decision", "notifykit.attempt"))
        for span in (first, second)
    ]
    assert timedelta(minutes=1) == timedelta(microseconds=(second.end_time - first.end_time) // 1000)


async def test_receivers_of_webhooks_get_the_trace(telemetry, collected):
    """As the standard header, unless the endpoint has one of its own; without a trace there is none."""
    async with (
        RawReceiver(always_ok) as receiver,
        Notifykit("memory://", egress=local_egress(), trace=telemetry.traceparent) as kit,
    ):
        await kit.subscribe("a", tenant=ACME, endpoint=receiver.url)
        await kit.subscribe("b", tenant=ACME, endpoint=receiver.url, headers={"Traceparent": "own"})
        for name in ("a", "b"):
            await kit.apublish(Event(type=name, data={}), tenant=ACME)
        kit._publisher._trace = None
        await kit.apublish(Event(type="a", data={}), tenant=ACME)
        async with kit.dispatcher() as dispatcher:
            await dispatcher.drained()
        heads = [head.decode().lower() for head, _ in receiver.requests]

    (span, _) = collected.spans.get_finished_spans()
    found = sorted(value for head in heads for value in re.findall("traceparent: (.*?)\r\n", head))
    assert 3 == len(heads)
    assert [f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}", "own"] == [found[0][:-3], found[1]]


@pytest.mark.parametrize("tracers", [NoOpTracerProvider(), TracerProvider(sampler=ALWAYS_OFF)], ids=["none", "off"])
async def test_what_is_not_sampled_is_published_all_the_same(collected, tracers):
    """Neither the publish nor its attempts are spans then."""
    telemetry = OpenTelemetry(meters=collected.meters, tracers=tracers)
    async with Notifykit("memory://", egress=local_egress(), trace=telemetry.traceparent) as kit:
        receipt = await kit.apublish(Event(type="a", data={}), tenant=ACME)
        event = await kit.events.get(receipt.event_id, tenant=ACME)

    assert event.trace is None or int(event.trace[-2:], 16) % 2 == 0


async def test_the_metrics_are_those_of_prometheus(collected, telemetry):
    """With full stops in their names; a lane in which nothing waits any more is 0."""
    clock = FakeClock()
    async with Notifykit("memory://", clock=clock, egress=local_egress(), subscribers=[telemetry]) as kit:
        await kit.subscribe("**", tenant=ACME, endpoint="http://127.0.0.1:8081/", retry=RetryPolicy(delays=()))
        await kit.apublish(Event(type="a.b", data={}), tenant=ACME)
        await drained(kit, ScriptedChannel(), roles={"plan"})
        clock.advance(timedelta(seconds=3))
        await telemetry.observe(kit)
        before = collected.points()
        clock.advance(timedelta(minutes=2))
        await drained(kit, ScriptedChannel(lambda _: Transient(reason="http_503")))
        await telemetry.observe(kit)
        after = collected.points()

    assert ({("webhook",): 1}, {("webhook",): 3}) == (
        before["notifykit.lane.waiting"],
        before["notifykit.lane.oldest.due.seconds"],
    )
    assert {("webhook",): 0} == after["notifykit.lane.waiting"]
    assert {("webhook", "", "transient"): 1} == after["notifykit.attempts"]
    assert {("webhook", "dead_letter"): 1} == after["notifykit.decisions"]
    assert 1 == after["notifykit.backlog"]["dead",]
