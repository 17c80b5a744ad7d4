"""What the metrics of notifykit are, and what each telemetry event and each look at the store adds to them.

Labels have few values whatever happens: no tenant, no endpoint, no reason and no event type is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from notifykit.telemetry import (
    AddressGone,
    BouncesUnusual,
    ChannelFailed,
    CircuitClosed,
    CircuitOpened,
    ClaimLost,
    DeliveryAbandoned,
    DeliveryAttempted,
    DeliveryNotSent,
    EndpointDisabled,
    EventsPlanned,
    LoopFailed,
    ReceiptRecorded,
    RenderingFailed,
    SendingPaused,
    TelemetryEvent,
    WorkerAlive,
)

if TYPE_CHECKING:
    from notifykit import Notifykit

#: Seconds: an attempt takes milliseconds to half a minute, a delivery that is retried waits for hours.
_ATTEMPT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_WAIT = (0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 1800, 7200, 36_000)


class Measure(NamedTuple):
    """A metric.

    Attributes:
        name: In the style of Prometheus, without what is common to all.
        labels: The names of its labels.
        buckets: The bounds of a histogram.
    """

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class Measurement(NamedTuple):
    """A number for a metric, with the values of its labels."""

    measure: Measure
    number: float
    labels: tuple[str, ...] = ()


def _counter(name: str, text: str, *labels: str) -> Measure:
    return Measure("counter", name, text, labels)


def _gauge(name: str, text: str, *labels: str) -> Measure:
    return Measure("gauge", name, text, labels)


ATTEMPTS = _counter("attempts", "Attempts by outcome.", "channel", "provider", "outcome")
DECISIONS = _counter("decisions", "What followed attempts.", "channel", "decision")
ATTEMPT_SECONDS = Measure("histogram", "attempt_seconds", "How long attempts took.", ("channel",), _ATTEMPT)
WAIT_SECONDS = Measure("histogram", "wait_seconds", "From publishing to the first attempt.", ("channel",), _WAIT)
NOT_SENT = _counter("not_sent", "Claimed deliveries that were not sent.", "decision")
EVENTS = _counter("events_planned", "Events that were turned into deliveries.")
DELIVERIES = _counter("deliveries_planned", "Deliveries that were made of events.")
ABANDONED = _counter("abandoned", "Leases that ran out: a worker died or hung.")
LOST = _counter("claims_lost", "Results that came too late.")
CIRCUITS = _counter("circuits", "Circuits that were opened or closed.", "change")
DISABLED = _counter("endpoints_disabled", "Endpoints that were disabled.")
GONE = _counter("addresses_gone", "Addresses that are gone for good.", "channel")
RECEIPTS = _counter("receipts", "What providers have reported of messages.", "provider", "kind")
BOUNCING = _counter("bounces_unusual", "Times that unusually many addresses bounced.", "provider")
FAULTS = _counter("faults", "Messages that a channel or a template failed on.", "kind")
PAUSES = _counter("sending_paused", "Times that the process lacked files or memory.", "reason")
FAILURES = _counter("loop_failures", "Failures of a worker's loops.", "loop")
ALIVE = _gauge("worker_alive_timestamp_seconds", "When the worker has last reached the store.")
IN_FLIGHT = _gauge("worker_in_flight", "Attempts in progress in the worker.")
BACKLOG = _gauge("backlog", "Work that waits; counts stop at 10,000.", "state")
OLDEST = _gauge("oldest_due_seconds", "For how long the most overdue work waits.")
LANE_WAITING = _gauge("lane_waiting", "Deliveries that wait; counts stop at 10,000.", "lane")
LANE_OLDEST = _gauge("lane_oldest_due_seconds", "For how long the most overdue delivery waits.", "lane")
OPEN_CIRCUITS = _gauge("circuits_open", "Endpoints and accounts whose circuit is open.")

MEASURES: Sequence[Measure] = [each for each in globals().values() if isinstance(each, Measure)]


#: What counts events of a kind, and what returns the labels.
_COUNTED: Mapping[type[TelemetryEvent], tuple[Measure, Callable[[Any], tuple[str, ...]]]] = {
    DeliveryNotSent: (NOT_SENT, lambda event: (event.decision,)),
    DeliveryAbandoned: (ABANDONED, lambda _: ()),
    ClaimLost: (LOST, lambda _: ()),
    CircuitOpened: (CIRCUITS, lambda _: ("opened",)),
    CircuitClosed: (CIRCUITS, lambda _: ("closed",)),
    EndpointDisabled: (DISABLED, lambda _: ()),
    AddressGone: (GONE, lambda event: (event.channel,)),
    ReceiptRecorded: (RECEIPTS, lambda event: (event.provider, event.kind)),
    BouncesUnusual: (BOUNCING, lambda event: (event.provider,)),
    ChannelFailed: (FAULTS, lambda _: ("channel",)),
    RenderingFailed: (FAULTS, lambda _: ("template",)),
    SendingPaused: (PAUSES, lambda event: (event.reason,)),
    LoopFailed: (FAILURES, lambda event: (event.loop.partition(" ")[0],)),
}


def measurements(event: TelemetryEvent) -> Iterator[Measurement]:
    """Yield what an event adds."""
    match event:
        case DeliveryAttempted():
            # An account is `smtp://user@host`; only the kind of provider is one of few.
            provider = (event.account or "").partition(":")[0]
            yield Measurement(ATTEMPTS, 1, (event.channel, provider, event.outcome))
            yield Measurement(DECISIONS, 1, (event.channel, event.decision))
            yield Measurement(ATTEMPT_SECONDS, event.took.total_seconds(), (event.channel,))
            if event.attempt == 1:
                yield Measurement(WAIT_SECONDS, event.waited.total_seconds(), (event.channel,))
        case EventsPlanned():
            yield Measurement(EVENTS, event.events)
            yield Measurement(DELIVERIES, event.deliveries)
        case WorkerAlive():
            yield Measurement(ALIVE, event.at.timestamp())
            yield Measurement(IN_FLIGHT, event.in_flight)
        case _ if type(event) in _COUNTED:
            measure, labels_of = _COUNTED[type(event)]
            yield Measurement(measure, 1, labels_of(event))
        case _:
            pass


async def looked_at(kit: Notifykit) -> Sequence[Measurement]:
    """Return what a look at the store says; a lane that is not named has nothing."""
    stats, circuits, now = await kit.stats(), await kit.store.circuits(), kit.clock.now()

    def age(since: datetime | None) -> float:
        return 0.0 if since is None else max(0.0, (now - since).total_seconds())

    lanes = [
        each
        for lane, its in stats.lanes.items()
        for each in (
            Measurement(LANE_WAITING, its.waiting, (str(lane),)),
            Measurement(LANE_OLDEST, age(its.oldest_due), (str(lane),)),
        )
    ]
    states = ("unplanned", "waiting", "sending", "dead")
    return [
        *(Measurement(BACKLOG, getattr(stats, state), (state,)) for state in states),
        Measurement(OLDEST, age(stats.oldest_due)),
        Measurement(OPEN_CIRCUITS, len(circuits)),
        *lanes,
    ]
