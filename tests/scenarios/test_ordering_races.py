"""Two processes in the same FIFO group at the same moment, on PostgreSQL: one statement is open while another runs.

A row behind the head of its group is deferred, and the statement that removes the head releases
it.  A lost release would show seconds or minutes later; the store has a clock that stands
still here, so the row would never come.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from notifykit.models.delivery import DeliveryState
from notifykit.ports import DeliveryFilter, Move
from notifykit.testing import FakeClock, make_attempt, make_event, make_record
from notifykit.testing.suites.store.ordering import KEY, given_group
from notifykit.testing.suites.store.steps import (
    ACME,
    LANE,
    LEASE,
    SECOND,
    claim,
    claim_one,
    finish,
    settle,
    take,
    take_one,
)

asyncpg = pytest.importorskip("asyncpg", reason="needs asyncpg")

from notifykit.stores.encoding.rows import RANK, micros  # noqa: E402
from notifykit.stores.sql.postgres import statements as sql  # noqa: E402  # only where its driver is
from notifykit.stores.sql.postgres.columns import record_columns  # noqa: E402
from notifykit.stores.sql.postgres.store import PostgresStore  # noqa: E402

#: All columns of a batch vary.
EVERYTHING = -1


@pytest.fixture
async def store(postgres_database: str) -> AsyncIterator[PostgresStore]:
    """A store in an empty database."""
    store = PostgresStore(postgres_database, create=True)
    await store.open()
    yield store
    await store.aclose()


@pytest.fixture
async def other(store: PostgresStore) -> AsyncIterator[Other]:
    """Another process."""
    connection = await asyncpg.connect(store.url, server_settings={"enable_hashjoin": "off"})
    yield Other(connection)
    await connection.close()


@pytest.fixture
def clock() -> FakeClock:
    """The time; it stands still."""
    return FakeClock()


class Other:
    """Another process: runs the store's own statements, but commits when the test says."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @asynccontextmanager
    async def uncommitted(self, statement: str, *values: Any) -> AsyncIterator[list[Any]]:
        """Run a statement; commit at the end of the block."""
        async with self._connection.transaction():
            yield await self._connection.fetch(statement, *values)


def claiming(clock: FakeClock, limit: int = 10) -> tuple[Any, ...]:
    now, until = micros(clock.now()), micros(clock.now() + LEASE)
    return (sql.CLAIM, LANE.channel, RANK[LANE.priority], now, limit, until, "other", [], [], None, limit)


def taking(clock: FakeClock, limit: int = 10) -> tuple[Any, ...]:
    return (sql.TAKE, micros(clock.now()), limit, micros(clock.now() + LEASE), [], 0, limit)


def ids(rows: list[Any]) -> list[str]:
    return [row[0] for row in rows if row[0] is not None]


_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def waits_for_lock(work: asyncio.Task[Any], store: PostgresStore) -> None:
    """Return once a statement of ``work`` waits for another transaction."""
    async with asyncio.timeout(10):
        while not work.done():
            async with store._driver() as pg:
                if await pg.fetchval(_WAITING):
                    return
            await asyncio.sleep(0.01)
    raise AssertionError("did not wait")


async def test_a_delivery_deferred_while_the_head_ends_is_released(
    store: PostgresStore, other: Other, clock: FakeClock
) -> None:
    """A record waits for the claim that defers the follower, and sees it."""
    _, second = await given_group(store, clock, 2)
    (head,) = await claim(store, clock, 1)

    async with other.uncommitted(*claiming(clock)) as claimed:
        ending = asyncio.create_task(finish(store, clock, head))
        await waits_for_lock(ending, store)
    written = await ending

    assert ([], {head.delivery_id}) == (ids(claimed), written)
    assert second.id == (await claim_one(store, clock)).delivery_id


async def test_nothing_is_deferred_behind_a_head_that_is_ending(
    store: PostgresStore, other: Other, clock: FakeClock
) -> None:
    """A claim does not defer a follower while the end of the head is being written."""
    _, second, third = await given_group(store, clock, 3)
    (head,) = await claim(store, clock, 1)
    attempt = make_attempt(head, at=clock.now())
    record = make_record(head, DeliveryState.DELIVERED, at=clock.now(), attempt=attempt)
    columns = record_columns([record])

    async with other.uncommitted(sql.record(EVERYTHING), *columns) as written:
        meanwhile = await claim(store, clock)
    then = await claim_one(store, clock)
    await finish(store, clock, then)

    assert ([head.delivery_id], []) == (ids(written), meanwhile)
    assert [second.id, third.id] == [then.delivery_id, (await claim_one(store, clock)).delivery_id]


async def test_a_cancelled_head_releases_the_next(store: PostgresStore, other: Other, clock: FakeClock) -> None:
    """A cancellation too waits for the claim that defers the follower."""
    (first,) = await given_group(store, clock, 1, due_at=clock.now() + SECOND)
    (second,) = await given_group(store, clock, 1)

    async with other.uncommitted(*claiming(clock)) as claimed:
        cancelling = asyncio.create_task(store.move(ACME, DeliveryFilter(ids=[first.id]), Move.CANCEL, now=clock.now()))
        await waits_for_lock(cancelling, store)
    cancelled = await cancelling

    assert ([], 1) == (ids(claimed), cancelled)
    assert second.id == (await claim_one(store, clock)).delivery_id


async def test_a_redrive_cannot_send_two_of_a_group_at_once(
    store: PostgresStore, other: Other, clock: FakeClock
) -> None:
    """A delivery that comes back while a later one is being claimed waits for the end of that one."""
    first, second = await given_group(store, clock, 2)
    await finish(store, clock, await claim_one(store, clock), DeliveryState.DEAD)

    async with other.uncommitted(*claiming(clock)) as claimed:
        await store.move(ACME, DeliveryFilter(ids=first.id), Move.REDRIVE, now=clock.now())
        claiming_too = asyncio.create_task(claim(store, clock))
        await waits_for_lock(claiming_too, store)
    meanwhile = await claiming_too

    assert ([second.id], []) == (ids(claimed), meanwhile)


async def test_an_event_deferred_while_the_head_is_settled_is_released(
    store: PostgresStore, other: Other, clock: FakeClock
) -> None:
    """A settlement waits for the take that defers the next event, and sees it."""
    first, second = (make_event(at=clock.now(), ordering_key=KEY) for _ in range(2))
    await store.append([first, second])
    (head,) = await take(store, clock, 1)

    async with other.uncommitted(*taking(clock)) as taken:
        settling = asyncio.create_task(settle(store, clock, head))
        await waits_for_lock(settling, store)
    settled = await settling

    assert ([], {first.id}) == (ids(taken), settled)
    assert second.id == (await take_one(store, clock)).id


async def test_no_event_is_deferred_behind_one_that_is_being_settled(
    store: PostgresStore, other: Other, clock: FakeClock
) -> None:
    """A take does not defer an event while the plan of the one before it is being written."""
    first, second = (make_event(at=clock.now(), ordering_key=KEY) for _ in range(2))
    await store.append([first, second])
    (head,) = await take(store, clock, 1)
    now = micros(clock.now())
    statement = sql.settle(EVERYTHING, None, careful=True)

    async with other.uncommitted(statement, now, [head.id], [head.fence], [None]) as settled:
        meanwhile = await take(store, clock)
    then = await take_one(store, clock)

    assert ([first.id], [], second.id) == (ids(settled), meanwhile, then.id)
