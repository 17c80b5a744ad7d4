"""Metrics for Prometheus: they tell what happened, and their labels have few values."""

from __future__ import annotations

from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from notifykit import EgressRules, Event, Notifykit
from notifykit.contrib.prometheus import PrometheusMetrics
from notifykit.models.outcome import Permanent
from notifykit.telemetry import (
    ClaimLost,
    DeliveryAbandoned,
    DeliveryNotSent,
    EndpointDisabled,
    LoopFailed,
)
from notifykit.testing import FakeClock
from tests.unit.dispatch.support import ScriptedChannel

ACME = "acme"


@pytest.fixture
def registry():
    return CollectorRegistry()


async def test_what_is_delivered_is_counted(registry):
    """By channel and outcome, with times; the backlog is what waits."""
    metrics, clock = PrometheusMetrics(registry), FakeClock()
    egress = EgressRules(allow=["127.0.0.0/8"], allow_http=True)
    async with Notifykit("memory://", clock=clock, egress=egress, subscribers=[metrics]) as kit:
        await kit.subscribe("**", tenant=ACME, endpoint="http://127.0.0.1:8081/")
        await kit.apublish(Event(type="a.b", data={}), tenant=ACME)
        clock.advance(timedelta(seconds=3))
        await metrics.observe(kit)
        overdue = registry.get_sample_value("notifykit_oldest_due_seconds")
        dispatcher = kit.dispatcher([ScriptedChannel(lambda _: Permanent(reason="http_400"))])
        while await dispatcher.step():
            pass
        await metrics.observe(kit)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"notifykit_{name}", labels)

    assert 1 == value("attempts_total", channel="webhook", provider="", outcome="permanent")
    assert 1 == value("decisions_total", channel="webhook", decision="dead_letter")
    assert 1 == value("attempt_seconds_count", channel="webhook")
    assert 3 == value("wait_seconds_sum", channel="webhook")
    assert (1, 1) == (value("events_planned_total"), value("deliveries_planned_total"))
    assert (0, 1) == (value("backlog", state="unplanned"), value("backlog", state="dead"))
    assert (3, 0) == (overdue, value("oldest_due_seconds"))


def test_no_label_names_what_is_not_bounded(registry):
    """Neither tenants nor ids nor reasons, whatever the events say."""
    metrics = PrometheusMetrics(registry)
    mark = "only-here"
    of_delivery = {"delivery_id": mark, "event_id": mark, "tenant": mark}
    for event in (
        DeliveryNotSent(**of_delivery, decision="held", reason=mark),
        DeliveryAbandoned(**of_delivery, abandoned=1, quarantined=False),
        ClaimLost(delivery_id=mark, fence=1),
        EndpointDisabled(endpoint_id=mark, tenant=mark, reason=mark),
        LoopFailed(loop=f"claim {mark}", error=mark, pause=timedelta(seconds=1)),
    ):
        metrics(event)

    shown = generate_latest(registry).decode()

    assert mark not in shown
    assert 'notifykit_not_sent_total{decision="held"} 1.0' in shown
    assert 'notifykit_loop_failures_total{loop="claim"} 1.0' in shown
    assert "notifykit_abandoned_total 1.0" in shown
    assert "notifykit_claims_lost_total 1.0" in shown
    assert "notifykit_endpoints_disabled_total 1.0" in shown
