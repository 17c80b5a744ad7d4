"""Batches on PostgreSQL: whichever statement writes one, the same is stored as one event at a time would store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from notifykit.models.delivery import Attempt, DeliveryState, NewDelivery, Priority
from notifykit.models.event import StoredEvent, TakenEvent
from notifykit.ports import Appended, Record, Settlement, Store
from notifykit.stores.memory import MemoryStore
from notifykit.stores.sql.postgres.columns import Shapes
from notifykit.stores.sql.postgres.store import PostgresStore
from notifykit.testing import START, make_delivery, make_event
from notifykit.testing.suites.store.steps import find_delivery, find_event, read

TENANT = make_event().tenant
LEASE = timedelta(seconds=30)
LATER = START + timedelta(seconds=5)
#: As many events as get a statement of their own, and then some.
MANY = 40


@pytest.fixture
async def store(postgres_store_url):
    store = PostgresStore(postgres_store_url)
    await store.open()
    yield store
    await store.aclose()


# ── append ─────────────────────────────────────────────────────────────────────────────────────


def numbered(count: int, **changes: Callable[[int], Any]) -> list[StoredEvent]:
    return [make_event(**{name: value(index) for name, value in changes.items()}) for index in range(count)]


@pytest.mark.parametrize("count", [1, 2, MANY])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"body": lambda i: b"%d" % i, "type": lambda i: f"order.t{i % 3}"},
        {"published_at": lambda i: START + timedelta(microseconds=i)},
        {"occurred_at": lambda i: START - timedelta(days=i), "due_at": lambda _: START + timedelta(microseconds=7)},
        {"expires_at": lambda i: START + timedelta(hours=1) if i % 2 else None, "topic": lambda i: f"shop/{i}"},
        {"priority": lambda i: tuple(Priority)[i % 3], "version": lambda i: i % 2 + 1, "actor": lambda _: "Ada"},
        {"key": lambda i: f"key {i}" if i % 2 else None, "metadata": lambda _: "{}", "ordering_key": lambda _: "A"},
        {"tenant": lambda _: "globex", "resource_id": str, "trace": lambda i: "t" if i % 5 else None},
    ],
)
async def test_events_come_back_as_they_were_stored(store, count, changes):
    """Whatever their columns have in common."""
    events = numbered(count, **changes)

    answers = await store.append(events)

    assert [Appended(event.id) for event in events] == answers
    assert events == [await find_event(store, event.tenant, event.id) for event in events]


async def test_there_is_no_end_of_ways_to_vary(store):
    """After so many kinds of batches others are written by a statement that fits any."""
    names = ("topic", "resource_kind", "resource_id", "actor", "trace", "metadata")
    for kind in range(1 << len(names)):
        varying = {name: str for bit, name in enumerate(names) if kind >> bit & 1}
        events = numbered(MANY, **varying)
        await store.append(events)

        some = events[:: MANY // 3]
        assert some == [await find_event(store, event.tenant, event.id) for event in some]


@pytest.mark.parametrize("others", [0, 1, MANY])
async def test_an_event_that_is_repeated_is_stored_once(store, others):
    """Its id alone says that it is the same; those beside it are new."""
    repeated = make_event()
    new = numbered(others)
    await store.append([repeated])

    answers = await store.append([*new, repeated._replace(body=b"other")])

    assert [*(Appended(event.id) for event in new), Appended(repeated.id, duplicate=True)] == answers
    assert repeated == await find_event(store, TENANT, repeated.id)
    assert others + 1 == len(await store.take(100, now=START, lease=LEASE))


# ── settle ─────────────────────────────────────────────────────────────────────────────────────


def delivered(new: NewDelivery, index: int, **changes: Any) -> Record:
    fields: dict[str, Any] = {"number": 1, "took": timedelta(microseconds=index), "worker": "worker-1", **changes}
    attempt = Attempt(delivery_id=new.id, started_at=START, outcome="accepted", **fields)
    return Record(new.id, 1, DeliveryState.DELIVERED, None, None, START + timedelta(seconds=index), attempt)


def buried(new: NewDelivery, index: int) -> Record:
    attempt = Attempt(delivery_id=new.id, number=1, started_at=START, took=LEASE, outcome="permanent", reason="gone")
    return Record(new.id, 1, DeliveryState.DEAD, "gone", None, START + timedelta(seconds=index), attempt)


def retried(new: NewDelivery, index: int) -> Record:
    due_at = START + timedelta(seconds=index)
    attempt = Attempt(
        delivery_id=new.id, number=1, started_at=START, took=LEASE, outcome="transient", retry_at=due_at, worker="w"
    )
    return Record(new.id, 1, DeliveryState.PENDING, "http_503", due_at, START, attempt)


def unsent(new: NewDelivery, _: int) -> Record:
    return Record(new.id, 1, DeliveryState.CANCELLED, "endpoint_deleted", None, START, None)


def planned(taken: TakenEvent, fan_out: int, **changes: Any) -> list[NewDelivery]:
    event = make_event(id=taken.id, at=START)
    return [make_delivery(event, address=f"address {n}", **changes) for n in range(fan_out)]


def all_delivered(taken: TakenEvent, index: int) -> Settlement:
    (new,) = planned(taken, 1)
    return Settlement(taken.id, taken.fence, [new], None, [delivered(new, index, status=204)])


def some_answered(taken: TakenEvent, index: int) -> Settlement:
    (new,) = planned(taken, 1, expires_at=LATER if index % 2 else None)
    record = delivered(new, index, response=b"thanks" if index % 3 else b"", status=200 + index % 2)
    return Settlement(taken.id, taken.fence, [new], None, [record])


def some_buried(taken: TakenEvent, index: int) -> Settlement:
    one, other = planned(taken, 2)
    return Settlement(taken.id, taken.fence, [one, other], None, [delivered(one, index), buried(other, index)])


def some_failed(taken: TakenEvent, index: int) -> Settlement:
    (new,) = planned(taken, 1)
    record = retried(new, index) if index % 4 == 0 else delivered(new, index)
    return Settlement(taken.id, taken.fence, [new], None, [record])


def some_never_sent(taken: TakenEvent, index: int) -> Settlement:
    (new,) = planned(taken, 1)
    return Settlement(taken.id, taken.fence, [new], None, [unsent(new, index)] if index % 2 else [])


def all_waiting(taken: TakenEvent, index: int) -> Settlement:
    return Settlement(taken.id, taken.fence, planned(taken, 2))


def all_held(taken: TakenEvent, index: int) -> Settlement:
    return Settlement(taken.id, taken.fence, planned(taken, 1, state=DeliveryState.HELD, reason="paused"))


def all_suppressed(taken: TakenEvent, index: int) -> Settlement:
    return Settlement(taken.id, taken.fence, planned(taken, 1, state=DeliveryState.SUPPRESSED, reason="unwanted"))


def all_leased(taken: TakenEvent, index: int) -> Settlement:
    return Settlement(taken.id, taken.fence, planned(taken, 1, state=DeliveryState.SENDING))


def nobody_wants_it(taken: TakenEvent, index: int) -> Settlement:
    return Settlement(taken.id, taken.fence, [])


def some_unwanted(taken: TakenEvent, index: int) -> Settlement:
    return all_waiting(taken, index) if index % 2 else nobody_wants_it(taken, index)


def some_in_pages(taken: TakenEvent, index: int) -> Settlement:
    return Settlement(taken.id, taken.fence, planned(taken, 2), "next page" if index % 2 else None)


def all_in_pages(taken: TakenEvent, index: int) -> Settlement:
    return Settlement(taken.id, taken.fence, planned(taken, 2), "next page")


def some_lost(taken: TakenEvent, index: int) -> Settlement:
    return all_delivered(taken._replace(fence=taken.fence - index % 2), index)


def all_lost(taken: TakenEvent, index: int) -> Settlement:
    return all_delivered(taken._replace(fence=taken.fence + 1), index)


async def report(store: Store, settlements: list[Settlement]) -> list[Any]:
    """Return all that a store says of what was settled."""
    ids = sorted({new.id for settlement in settlements for new in settlement.deliveries})
    found = [(await find_delivery(store, TENANT, id_), await store.attempts(TENANT, id_)) for id_ in ids]
    return [found, sorted(await store.take(1000, now=LATER + LEASE, lease=LEASE))]


@pytest.mark.parametrize(
    ("count", "takes"),
    [
        (1, 1),
        (3, 2),
        (MANY, 1),
        *(pytest.param(*both, marks=pytest.mark.thorough) for both in [(1, 2), (3, 1), (MANY, 2)]),
    ],
)
@pytest.mark.parametrize(
    "outcome",
    [
        all_delivered,
        some_answered,
        some_buried,
        some_failed,
        some_never_sent,
        all_waiting,
        all_held,
        all_suppressed,
        all_leased,
        nobody_wants_it,
        some_unwanted,
        some_in_pages,
        all_in_pages,
        some_lost,
        all_lost,
    ],
)
async def test_plans_are_written_as_in_memory(store, outcome, takes, count):
    """Whatever they have in common, and whether they are written for the first time."""
    memory = MemoryStore()
    events = numbered(count)
    reports = []
    for each in (memory, store):
        await each.append(events)
        for take in range(takes):
            taken = sorted(await each.take(1000, now=START + take * LEASE, lease=LEASE))
        settlements = [outcome(event, index) for index, event in enumerate(taken)]

        settled = await each.settle(settlements, now=LATER, lease=LEASE, worker="worker-1")

        reports.append([settled, *await report(each, settlements)])

    assert reports[0] == reports[1]


@pytest.mark.parametrize("others", [0, 1, MANY])
@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.SUPPRESSED])
async def test_a_delivery_that_is_there_stays_as_it_is(store, others, state):
    """It is made but once, although its event is planned as one that nobody has planned; the rest is written."""
    first, *rest = numbered(others + 2)
    await store.append([first])
    (taken,) = await store.take(1, now=START, lease=LEASE)
    new = planned(taken, 1, state=state, reason="as it was")
    await store.settle([Settlement(taken.id, 1, new)], now=START, lease=LEASE, worker="worker-1")
    await store.append(rest)
    again, *beside = sorted(await store.take(1000, now=START, lease=LEASE))
    repeated = [new[0]._replace(reason="as it would be"), *planned(again, 1, state=state)]

    settled = await store.settle(
        [Settlement(again.id, 1, repeated), *(Settlement(one.id, 1, planned(one, 1, state=state)) for one in beside)],
        now=LATER,
        lease=LEASE,
        worker="worker-1",
    )

    found = await read(store, new[0].id)
    written = [await find_delivery(store, TENANT, planned(one, 1)[0].id) for one in (again, *beside)]
    assert {event.id for event in rest} == settled
    assert (state, "as it was", START) == (found.state, found.reason, found.created_at)
    assert [state] * (others + 1) == [delivery.state for delivery in written if delivery]
    assert [] == await store.take(1000, now=LATER + LEASE, lease=LEASE)


# ── shapes ─────────────────────────────────────────────────────────────────────────────────────


def test_what_does_not_vary_is_sent_once():
    """A key counts as varying, so that there is a row for each."""
    shapes = Shapes()

    varying, values = shapes.fit([["a"] * MANY, ["b"] * MANY, list(range(MANY))])

    assert 0b101 == varying
    assert [["a"] * MANY, "b", list(range(MANY))] == values


def test_one_row_needs_one_statement():
    """Its columns are all sent as they are."""
    assert (0b1, [["a"], 2, None]) == Shapes().fit([["a"], [2], [None]])


def test_a_few_rows_need_one_statement():
    """What is equal in a few is equal by chance."""
    assert 0b111 == Shapes().fit([["a", "b"], [1, 1], [None, None]])[0]


def test_the_number_of_statements_is_bounded():
    """Later batches go as ones that vary more, or in which all varies."""
    shapes = Shapes()
    one, many = ["x"] * MANY, list(range(MANY))

    found = {shapes.fit([many, *(many if kind >> bit & 1 else one for bit in range(8))])[0] for kind in range(256)}

    assert len(found) <= 11
    assert 0b111111111 in found
    for kind in range(256):
        varying, values = shapes.fit([many, *(many if kind >> bit & 1 else one for bit in range(8))])
        assert (kind << 1 | 1) & ~varying == 0
        assert [bool(varying >> bit & 1) for bit in range(9)] == [value is not one[0] for value in values]
