"""Events that share a row of the outbox: taken together or in part, settled one by one, each of them once."""

from __future__ import annotations

from datetime import timedelta

import anyio
import psycopg
import pytest

from notifykit.models.delivery import Priority
from notifykit.ports import DeliveryFilter, Move, Settlement
from notifykit.stores.sql.postgres.store import PostgresStore
from notifykit.testing import START, make_delivery, make_event
from notifykit.testing.suites.store.steps import find_delivery, is_planned

LEASE = timedelta(seconds=30)
LATER = START + 2 * LEASE
PROMPTLY = 60  # seconds, in which anything is done
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
async def store(postgres_store_url):
    async for each in _opened(postgres_store_url):
        yield each


@pytest.fixture
async def other(postgres_store_url):
    """What another process has."""
    async for each in _opened(postgres_store_url):
        yield each


async def _opened(url):
    store = PostgresStore(url)
    await store.open()
    yield store
    await store.aclose()


@pytest.fixture
def rows(postgres_store_url):
    """Look at a query's rows."""
    with psycopg.connect(postgres_store_url, autocommit=True) as connection:
        yield lambda query: connection.execute(query).fetchall()


async def take(store, limit=1000, now=START):
    return await store.take(limit, now=now, lease=LEASE)


async def settle(store, taken, cursor=None, now=START):
    settlements = [Settlement(one.id, one.fence, [make_delivery(_event(one))], cursor) for one in taken]
    return await store.settle(settlements, now=now, lease=LEASE, worker="planner-1")


def _event(taken):
    return make_event()._replace(id=taken.id, tenant=taken.tenant)


def ids(events):
    return [event.id for event in events]


OUTBOX = "SELECT (SELECT count(*) FROM notifykit_outbox), (SELECT count(*) FROM notifykit_bundles)"


async def test_events_share_rows_however_many_there_are(store, rows):
    """Nearly a hundred in one; they are taken in the order of their ids, with nothing left."""
    events = [make_event() for _ in range(250)]
    await store.append(events)
    stored = rows(OUTBOX)

    taken = await take(store)

    assert [(0, 3)] == stored
    assert sorted(ids(events)) == ids(taken)
    assert set(ids(taken)) == await settle(store, taken)
    assert [(0, 0)] == rows(OUTBOX)
    assert [(250,)] == rows("SELECT count(*) FROM notifykit_queue")


@pytest.mark.parametrize(
    "changes",
    [
        [{}, {"tenant": "globex"}],
        [{}, {"priority": Priority.HIGH}],
        [{"priority": Priority.LOW}] * 2,
        [{"ordering_key": "A-1"}] * 2,
        [{"due_at": LATER}, {}],
        [{"key": "k-1"}, {}],
        [{}],
    ],
    ids=["tenants", "priorities", "not urgent", "in a line", "due later", "keys", "one"],
)
async def test_others_have_rows_of_their_own(store, rows, changes):
    """Whatever needs to be told apart before it is planned."""
    events = [make_event(**each) for each in changes]

    await store.append(events)

    assert [(len(events), 0)] == rows(OUTBOX)


async def test_long_ids_make_small_bundles(store, rows):
    """A bundle never outgrows the page that it is on."""
    events = [make_event(id=f"evt_{number:0124}") for number in range(100)]

    await store.append(events)

    assert [(0, 4)] == rows(OUTBOX)
    assert ids(events) == ids(await take(store))


async def test_what_there_is_no_room_for_waits(store, rows):
    """A take that is smaller than a bundle leaves the rest of it to the next."""
    events = sorted(make_event() for _ in range(60))
    await store.append(events)

    parts = [await take(store, limit) for limit in (10, 1, 25, 1000, 1000)]

    assert [10, 1, 25, 24, 0] == list(map(len, parts))
    assert ids(events) == [event.id for part in parts for event in part]
    assert {1} == {event.fence for part in parts for event in part}
    for part in parts[3::-1]:
        assert len(part) == len(await settle(store, part))
    assert [(0, 0)] == rows(OUTBOX)


async def test_many_small_bundles_fill_a_batch(store):
    """However few events a bundle has, there are as many as were asked for, singles among them, oldest first."""
    events = []
    for number in range(60):
        some = [make_event(at=START + timedelta(seconds=number)) for _ in range(1 + number % 3)]
        await store.append(some)
        events += some

    first = await take(store, 100, now=LATER)
    second = await take(store, 100, now=LATER)

    assert (100, 20) == (len(first), len(second))
    assert {event.published_at for event in events[:99]} >= {event.published_at for event in first[:-2]}


async def test_urgent_events_come_first(store):
    """A crowd that is due for longer does not hold them up."""
    await store.append([make_event() for _ in range(50)])
    urgent = make_event(priority=Priority.HIGH, at=START + timedelta(seconds=1))
    await store.append([urgent])

    taken = await take(store, 10, now=LATER)

    assert 10 == len(taken)
    assert urgent.id == taken[0].id


async def test_what_is_left_of_a_bundle_is_taken_again(store, rows):
    """Its taker was lost half-way: what he has settled stays settled, and his late results are not written."""
    await store.append([make_event() for _ in range(40)])
    taken = await take(store)
    await settle(store, taken[10:25])
    await settle(store, taken[30:31])

    again = await take(store, 5, now=LATER) + await take(store, now=LATER)

    left = taken[:10] + taken[25:30] + taken[31:]
    assert sorted(ids(left)) == sorted(ids(again))
    assert {2} == {event.fence for event in again}
    assert set() == await settle(store, left)
    assert set(ids(left)) == await settle(store, again)
    assert [(0, 0)] == rows(OUTBOX)


async def test_a_settlement_counts_once(store, rows):
    """One that comes again, because its answer was lost, writes nothing: not even what has ended since."""
    await store.append([make_event() for _ in range(20)])
    taken = await take(store)
    known = dict(store._settling.whereabouts.places)
    await settle(store, taken[:5])
    store._settling.whereabouts.places.update(known)  # as if the answer had been lost
    with_queue = rows("SELECT count(*) FROM notifykit_queue")
    await store.move(taken[0].tenant, DeliveryFilter(ids=[make_delivery(_event(taken[0])).id]), Move.CANCEL, now=START)

    again = await settle(store, taken[:5])
    both = await settle(store, taken[3:8])

    assert [(5,)] == with_queue
    assert set() == again
    assert set(ids(taken[5:8])) == both
    assert [(7,)] == rows("SELECT count(*) FROM notifykit_queue")


async def test_who_did_not_take_them_may_settle_them(store, other):
    """The store looks up where they are."""
    await store.append([make_event() for _ in range(20)])
    taken = await take(store)

    settled = await settle(other, taken[5:10]) | await settle(store, taken[:5]) | await settle(other, taken[10:])

    assert set(ids(taken)) == settled
    assert set() == await settle(other, taken)


async def test_a_page_takes_its_event_out_of_the_bundle(store, rows):
    """It goes on in a row of its own, where its cursor is; the others stay."""
    await store.append([make_event() for _ in range(20)])
    taken = await take(store)

    settled = await settle(store, taken[:2], "page 2")

    assert set(ids(taken[:2])) == settled
    assert [(2, 1)] == rows(OUTBOX)
    paged = await take(store)
    assert [(one.id, "page 2", 2) for one in taken[:2]] == [(one.id, one.cursor, one.fence) for one in paged]
    assert set() == await settle(store, taken[:2])
    assert set(ids(taken)) == await settle(store, paged) | await settle(store, taken[2:])
    assert [(0, 0)] == rows(OUTBOX)


async def test_rows_and_bundles_are_settled_together(store, rows):
    """In one step, some planned and some with nobody who wants them."""
    await store.append([make_event() for _ in range(20)])
    await store.append([make_event()])
    taken = await take(store)
    wanted = [
        Settlement(one.id, one.fence, [make_delivery(_event(one))] if n % 2 else []) for n, one in enumerate(taken)
    ]

    settled = await store.settle(wanted, now=START, lease=LEASE, worker="planner-1")

    assert set(ids(taken)) == settled
    assert [(0, 0)] == rows(OUTBOX)
    assert [(10,)] == rows("SELECT count(*) FROM notifykit_queue")


async def test_what_waits_is_counted_and_kept(store):
    """Bundles are work like any other: for the numbers, for who asks, and for the clean-up."""
    events = [make_event() for _ in range(20)]
    await store.append(events)
    before = (
        await store.stats(now=START),
        await store.next_due(),
        await is_planned(store, events[0].tenant, events[7].id),
    )
    await store.purge(before=LATER, keys_before=LATER, limit=100)
    taken = await take(store)
    await settle(store, taken[:5])
    planned = [await is_planned(store, one.tenant, one.id) for one in taken]
    after = await store.stats(now=START), await store.next_due()

    assert (20, START) == (before[0].unplanned, before[0].oldest_due)
    assert (START, False) == (before[1].event, before[2])
    assert sorted(ids(events)) == ids(taken)
    assert [True] * 5 + [False] * 15 == planned
    assert (15, None) == (after[0].unplanned, after[1].event)


async def settle_during(change, store, taken, url):
    """Settle while another transaction changes bundles, which commits once we wait for it."""
    settled: set[str] = set()

    async def settle_them() -> None:
        settled.update(await settle(store, taken))

    with psycopg.connect(url) as changing, psycopg.connect(url, autocommit=True) as watch:
        changing.execute(f"UPDATE notifykit_bundles SET {change}")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(settle_them)
            with anyio.fail_after(PROMPTLY):
                while watch.execute(WAITING).fetchone() == (0,):
                    await anyio.sleep(0.01)
            changing.commit()
    return settled


async def test_two_settlements_of_a_bundle_at_a_time(store, postgres_store_url):
    """The second waits for the first, and finds what that one has left."""
    await store.append([make_event() for _ in range(20)])
    taken = await take(store)

    settled = await settle_during("open = open & ~(repeat('1', 5)::bit(128))", store, taken[5:], postgres_store_url)

    assert set(ids(taken[5:])) == settled
    assert [] == await take(store, now=LATER)


async def test_a_settlement_sees_who_took_the_bundle_while_it_waited(store, postgres_store_url):
    """It began under the right fence, and ends after another has taken it: nothing is written."""
    await store.append([make_event() for _ in range(3)])
    taken = await take(store)

    settled = await settle_during("fence = fence + 1", store, taken, postgres_store_url)

    assert set() == settled
    assert await find_delivery(store, taken[0].tenant, make_delivery(_event(taken[0])).id) is None
