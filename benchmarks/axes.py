"""The axes: the main job again, with one thing changed at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from .job import Job
from .plan import COST, RATE, WORKER, Plan, Say
from .results import Column, Finding, Part, ratio
from .rounds import Condition, take_turns
from .stores import STORES

AGE_P50 = Column(key="age_p50_ms", title="publish to received, p50", unit="ms", digits=1, chart="bars")
AGE_P99 = Column(key="age_p99_ms", title="publish to received, p99", unit="ms", digits=1, chart="bars")

#: Hosts that many endpoints share, where dialling is not what is measured.
HOSTS = 200
#: Deliveries to each of many endpoints: with few, mostly first deliveries would be measured.
EACH = 20


def enough(events: int, endpoints: int) -> int:
    """Return how many events a run needs that is not about first deliveries, and what it is compared with."""
    return max(events, EACH * endpoints)


def compared(what: str, above: Condition, below: Condition, *, key: str = "own_cpu_us", at_most: float) -> Finding:
    """Return how the cost under one condition compares with that under another."""
    return Finding(what=what, value=ratio(above.found, below.found, key), at_most=at_most)


def _axis(
    plan: Plan,
    say: Say,
    *,
    name: str,
    title: str,
    about: str,
    across: str,
    conditions: Sequence[Condition],
    found: Callable[[], Sequence[Finding]] = tuple,
    columns: Sequence[Column] = COST,
    events: int | None = None,
) -> Part:
    say(f"axis {name}")
    take_turns(conditions, plan.runs, say)
    where = f"{STORES[plan.store]}, {events or plan.events:,} events a run. "
    return Part(
        name=name,
        title=title,
        about=where + about,
        columns=columns,
        rows=[condition.row(columns) for condition in conditions],
        findings=found(),
        across=across,
    )


def _job(plan: Plan) -> Job:
    return Job(store=plan.store, events=plan.events)


def subscriptions(plan: Plan, say: Say) -> Part:
    """Measure one and five deliveries of an event."""
    job = _job(plan)
    fewer = attrs.evolve(job, events=plan.events // 5, subscriptions=5, endpoints=5)
    return _axis(
        plan,
        say,
        name="subscriptions",
        title="Subscriptions of an event",
        about="The number of deliveries is the same: with five subscriptions a fifth of the events is published.",
        across="subscriptions of each event",
        conditions=[Condition("1", job), Condition("5", fewer)],
    )


def payload(plan: Plan, say: Say) -> Part:
    """Measure small and large real payloads."""
    job = attrs.evolve(_job(plan), real=True)
    return _axis(
        plan,
        say,
        name="payload",
        title="Size of the payload",
        about="Payloads are examples of what services send, several of them put together where one is too small.",
        across="payload",
        conditions=[Condition("1 kB", job), Condition("8 kB", attrs.evolve(job, size=8000))],
    )


def endpoints(plan: Plan, say: Say) -> Part:
    """Measure few and many endpoints, on hosts that they share and each on a host of its own."""
    job = attrs.evolve(_job(plan), events=enough(plan.events, plan.endpoints))
    one, some, many = (Condition(f"{n:,}", attrs.evolve(job, endpoints=n)) for n in (1, HOSTS, plan.endpoints))
    shared = Condition(f"{many.label} on {HOSTS} hosts", attrs.evolve(many.job, hosts=HOSTS))
    first = [
        Condition(f"{which.label}, the first delivery to each", attrs.evolve(which.job, events=plan.endpoints))
        for which in (shared, many)
    ]

    def found() -> list[Finding]:
        return [
            compared(f"cost with {shared.label}, compared with {one.label}", shared, one, at_most=1.5),
            compared(f"cost with {many.label} on as many hosts, compared with {one.label}", many, one, at_most=1.5),
        ]

    return _axis(
        plan,
        say,
        name="endpoints",
        title="Number of endpoints",
        about=(
            "Each endpoint has its own type of event and, unless it is said otherwise, a host of its own, so that it "
            f"needs connections of its own. Endpoints are used one after the other, at least {EACH} times in a "
            "run. A worker that has just started meets each for the first time: it reads the endpoint and its "
            "subscriptions, decrypts the secret, prepares the request's head and dials. That is a part of every run, "
            "and what it costs by itself is in the last two rows: of runs with one event for each endpoint."
        ),
        across="endpoints",
        conditions=[one, some, shared, many, *first],
        found=found,
        events=job.events,
    )


def workers(plan: Plan, say: Say) -> Part:
    """Measure one and two worker processes."""
    job = _job(plan)
    return _axis(
        plan,
        say,
        name="workers",
        title="Worker processes",
        about="Producers, workers, database and receiver share the cores of the machine.",
        across="worker processes",
        conditions=[Condition(str(count), attrs.evolve(job, workers=count)) for count in (1, 2)],
    )


def tls(plan: Plan, say: Say) -> Part:
    """Measure plain and encrypted connections."""
    plain = Condition("http", _job(plan))
    encrypted = Condition("https", attrs.evolve(_job(plan), tls=True))

    def found() -> list[Finding]:
        return [
            compared("https costs, compared with http", encrypted, plain, at_most=1.3),
            Finding(
                what="of that the worker alone", value=ratio(encrypted.found, plain.found, WORKER.key)
            ),
        ]  # fmt: skip

    return _axis(
        plan,
        say,
        name="tls",
        title="TLS",
        about="Connections are kept; the worker verifies the receiver's certificate.",
        across="endpoint",
        conditions=[plain, encrypted],
        found=found,
    )


def failing(plan: Plan, say: Say) -> Part:
    """Measure first attempts that fail."""
    good = attrs.evolve(_job(plan), measures=True)
    return _axis(
        plan,
        say,
        name="failing",
        title="Attempts that fail",
        about=(
            "The receiver (ours, in both rows) answers 503 to the first attempt of every tenth event; it is made "
            "again after 0.2 s. Cost is that of a delivery, all its attempts included."
        ),
        across="first attempts that fail",
        conditions=[Condition("0 %", good), Condition("10 %", attrs.evolve(good, fail_every=10))],
    )


def history(plan: Plan, say: Say) -> Part:
    """Measure with an empty and with a full history."""
    job = _job(plan)
    counts = (0, plan.old_rows // 10, plan.old_rows)
    none, some, many = (Condition(f"{count:,}", attrs.evolve(job, history=count)) for count in counts)

    def found() -> list[Finding]:
        return [
            compared(f"cost with {many.label} old rows, compared with {some.label}", many, some, at_most=1.3),
            compared(f"cost with {many.label} old rows, compared with none", many, none, at_most=1.2),
        ]

    return _axis(
        plan,
        say,
        name="history",
        title="Old rows",
        about="So many events, ended deliveries and attempts of the last month are in the tables before the run.",
        across="old events, deliveries and attempts, each",
        conditions=[none, some, many],
        found=found,
    )


def latency(plan: Plan, say: Say) -> Part:
    """Measure the time from publish to received at steady rates."""
    conditions = []
    for store in plan.stores:
        for rate in (200, 2000):
            events = min(rate * 10, max(plan.events // 2, rate))
            conditions.append(
                Condition(f"{STORES[store]}, {rate:,}/s", Job(store=store, events=events, rate=rate)),
            )
    return attrs.evolve(
        _axis(
            plan,
            say,
            name="latency",
            title="From publish to received",
            about="",
            across="steady rate",
            conditions=conditions,
            columns=(AGE_P50, AGE_P99, *(attrs.evolve(column, chart=None) for column in COST if column is not RATE)),
        ),
        about=(
            "Events are published at a steady rate for some 10 s. The clock of an event starts when it is due to be "
            "published, also if the producer is late, and stops when our receiver has read it."
        ),
    )
