"""What is PostgreSQL's own: pools, hints between processes, locks that could cross, and a server that goes away."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from types import SimpleNamespace
from unittest.mock import AsyncMock

import anyio
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from notifykit.errors import SchemaError, StoreError, StoreUnavailableError
from notifykit.ports import DeliveryFilter, Move, NextDue, Settlement
from notifykit.stores.sql import transitions
from notifykit.stores.sql.postgres import store as postgres
from notifykit.stores.sql.postgres.statements import CLAIM_NAMED, FIRST_OF_OTHERS
from notifykit.stores.sql.postgres.store import PostgresStore
from notifykit.stores.sql.store import NOTIFICATIONS_PER_SECOND, NOTIFICATIONS_TO_SPARE, SHORT
from notifykit.testing import START, make_delivery, make_event
from notifykit.testing.clock import FakeClock
from notifykit.testing.suites.store.steps import claim, find_delivery, plan
from tests.databases import new_database
from tests.stores import create_tables

LEASE = timedelta(seconds=30)
#: In real seconds: far longer than anything takes, far shorter than a wait that is not ended.
PROMPTLY, LONG = 45, timedelta(seconds=60)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
async def store(postgres_store_url):
    store = PostgresStore(postgres_store_url)
    await store.open()
    yield store
    await store.aclose()


async def test_a_store_can_be_closed_and_opened_again(store):
    """What was stored is there; a store that is closed twice does not mind."""
    await store.append([make_event()])
    for _ in range(2):
        await store.aclose()

    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.circuits()
    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.next_due()
    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.append([make_event()])
    await store.open()

    assert 1 == len(await store.take(10, now=START, lease=LEASE))


async def test_a_database_that_lets_nobody_in_is_an_error_of_ours(postgres_url):
    """Whichever verb is the first to connect again."""
    with new_database(postgres_url) as url:
        store = PostgresStore(url, create=True)
        await store.open()
        name = make_url(url).database
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

        with pytest.raises(StoreUnavailableError):
            await store.take(10, now=START, lease=LEASE)
        with pytest.raises(StoreError, match="not currently accepting connections"):
            await store.take(10, now=START, lease=LEASE)
        with pytest.raises(StoreError, match="not currently accepting connections"):
            await store.circuits()
        await store.aclose()


async def test_a_purge_reads_no_whole_table(store):
    """With years of history there is one every hour."""
    big = "relname IN ('notifykit_events', 'notifykit_deliveries')"

    def whole_reads(connection):
        transitions.purge(connection, START, START, 100)
        return connection.scalar(text(f"SELECT sum(seq_scan) FROM pg_stat_xact_user_tables WHERE {big}"))

    assert 0 == await store._write(whole_reads)


async def test_who_looks_past_a_crowd_reads_none_of_its_rows(store):
    """However many events wait of those who stand back, whether there are others is seen in indexes."""
    statement = FIRST_OF_OTHERS.replace("$1", "ARRAY['crowd']")

    plan = await store._write(lambda connection: connection.scalars(text(f"EXPLAIN {statement}")).all())

    scans = [line.partition("->")[2].split(" on ")[0].strip() for line in plan if " on notifykit_" in line]
    assert ["Index Only Scan using notifykit_outbox_due"] == scans


async def test_tickets_find_their_deliveries_by_their_ids(store):
    """However much waits in the lane, its index is not read."""
    values: tuple[object, ...] = ("webhook", 1, 0, 5, 1, "worker-1", [], [], None, ["dlv_1"], 5)

    async with store._driver() as pg:
        plan = [row[0] for row in await pg.fetch(f"EXPLAIN {CLAIM_NAMED}", *values)]

    assert [] == [line for line in plan if "notifykit_queue_due" in line]
    assert [line for line in plan if "notifykit_queue_pkey" in line]


async def test_a_failed_opening_leaves_no_connection(postgres_url):
    """A database without tables is left as it was found."""
    with new_database(postgres_url) as url:
        with pytest.raises(SchemaError, match="notifykit migrate"):
            await PostgresStore(url).open()

        with psycopg.connect(url, autocommit=True) as connection:
            others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            with anyio.fail_after(PROMPTLY):
                while connection.execute(others).fetchone() != (1,):
                    await anyio.sleep(0.01)  # the server takes a moment to notice that a client has left


async def test_an_engine_of_ones_own_is_not_closed(postgres_store_url):
    """A program that shares its pool with the store goes on using it."""
    engine = create_async_engine(make_url(postgres_store_url).set(drivername="postgresql+asyncpg"))
    store = PostgresStore(postgres_store_url, engine=engine)
    await store.open()
    await store.append([make_event()])
    await store.aclose()

    async with engine.connect() as connection:
        counted = await connection.scalar(text("SELECT count(*) FROM notifykit_outbox"))
    open_connections = engine.pool.checkedin()  # type: ignore[attr-defined]
    await engine.dispose()

    assert (1, 1) == (counted, open_connections)


async def test_a_transaction_that_was_left_open_is_not_handed_on(store):
    """What its next user wrote would never be committed."""
    async with store._driver() as pg:
        await pg.execute("BEGIN")
    await store.append([make_event()])

    async with store._driver() as pg:
        found = pg.is_in_transaction()
    assert (False, 1) == (found, (await store.stats(now=START)).unplanned)


async def test_equal_keys_in_opposite_orders_do_not_deadlock(store, postgres_store_url):
    """Two processes publish batches with the same keys, each in its own order: every key is stored once."""
    other = PostgresStore(postgres_store_url)
    await other.open()
    keys = [f"key-{n:03}" for n in range(100)]
    duplicates: list[bool] = []

    async def publish(through: PostgresStore, order: list[str]) -> None:
        answers = await through.append([make_event(key=key) for key in order])
        assert len(order) == len(answers)
        duplicates.extend(answer.duplicate for answer in answers)

    for attempt in range(10):
        mine = [f"{attempt}-{key}" for key in keys]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(publish, store, mine)
            tasks.start_soon(publish, other, mine[::-1])

    await other.aclose()
    assert (1000, 1000) == (duplicates.count(False), duplicates.count(True))


async def test_answers_come_in_the_callers_order(store):
    """Although the rows are written in the order of their keys."""
    events = [make_event(key=key) for key in ("c", "a", "b")]
    await store.append([events[1]])

    answers = await store.append([events[0], make_event(key="a"), events[2], make_event(key="c")])

    assert [events[0].id, events[1].id, events[2].id, events[0].id] == [answer.event_id for answer in answers]
    assert [False, True, False, True] == [answer.duplicate for answer in answers]


async def test_a_hint_that_nobody_waited_for_is_kept(store, postgres_store_url):
    """Work that comes while a dispatcher is busy asking for more does not wait for its next poll."""
    other = PostgresStore(postgres_store_url)
    await other.open()
    with anyio.fail_after(PROMPTLY):
        await heard(store)

        await other.append([make_event()])
        while not store._notification_is_kept:
            await anyio.sleep(0.001)
        woken = await store.wait(LONG)
        again = await store.wait(timedelta(milliseconds=1))

    await other.aclose()
    assert (True, False) == (woken, again)


async def test_a_redrive_by_somebody_else_is_heard(store, postgres_store_url):
    """An operator's command is another process, and the worker may have nothing else to do."""
    other = PostgresStore(postgres_store_url)
    await other.open()
    with anyio.fail_after(PROMPTLY):
        await heard(store)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: other.move("acme", DeliveryFilter(), Move.REDRIVE, now=START, limit=10))
            woken = await store.wait(LONG)

    await other.aclose()
    assert woken


async def test_hints_are_heard_until_the_connection_is_lost(store, postgres_store_url):
    """A store does not say that it hears what it does not; what it asks is asked on another connection then."""
    with anyio.fail_after(PROMPTLY):
        await heard(store)
        listener = store._listener
        await store.next_due()
        with psycopg.connect(postgres_store_url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", [listener.get_server_pid()])
        while store.hears_notifications:
            await anyio.sleep(0.001)
        lost = await store.next_due()
        await heard(store)

    assert NextDue(None, {}, is_open=False) == lost
    assert store._listener is not listener


async def test_an_ear_that_nobody_speaks_to_is_noticed(store, monkeypatch):
    """A dead connection looks like a quiet one, until something is asked on it."""
    monkeypatch.setattr(postgres, "_STATEMENT_TIMEOUT", 1)
    with anyio.fail_after(PROMPTLY):
        await heard(store)
        listener = store._listener
        backend = listener.get_server_pid()
        with stopped(backend):
            with pytest.raises(StoreUnavailableError):
                await store.next_due()
            while store.hears_notifications:
                await anyio.sleep(0.001)
            again = await store.next_due()

    assert NextDue(None, {}, is_open=False) == again
    assert listener.is_closed()


async def test_a_listener_that_is_told_nothing_hears_no_hints(store, monkeypatch):
    """Behind a pooler, say, that lends out another connection for each transaction."""
    monkeypatch.setattr("asyncpg.connection.Connection.add_listener", AsyncMock())
    with anyio.fail_after(PROMPTLY):
        while store._listener is None:
            await store.wait(timedelta(milliseconds=10))
        await store.wait(timedelta(milliseconds=200))

    assert not store.hears_notifications


async def heard(store):
    """Wait until a store hears hints, and has told of those that are on their way."""
    while not store.hears_notifications or await store.wait(timedelta(milliseconds=100)):
        await store.wait(timedelta(milliseconds=10))


@contextmanager
def stopped(backend):
    """Have a process of the server stand still."""
    os.kill(backend, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(backend, signal.SIGCONT)


@pytest.fixture
def unanalysed_url(postgres_database):
    """A database whose statistics nothing changes: a plan is chosen by them, and autovacuum comes when it will."""
    create_tables(postgres_database)
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'notifykit%'").fetchall()
        for (table,) in tables:
            quiet = sql.SQL("ALTER TABLE {} SET (autovacuum_enabled = off)")
            connection.execute(quiet.format(sql.Identifier(table)))
    return postgres_database


@pytest.mark.parametrize("together", [1, 40], ids=["one", "a batch"])
async def test_frequent_statements_are_not_planned_each_time(unanalysed_url, together):
    """A plan takes the server as long as dozens of rows.  It tries five times before it settles for a general one."""
    store = PostgresStore(unanalysed_url, pool_size=1)
    await store.open()
    for _ in range(8):
        events = {event.id: event for event in [make_event() for _ in range(together)]}
        await store.append(list(events.values()))
        taken = await store.take(together, now=START, lease=LEASE)
        settlements = [Settlement(one.id, one.fence, [make_delivery(events[one.id])]) for one in taken]
        assert together == len(await store.settle(settlements, now=START, lease=LEASE, worker="w"))
    async with store._driver() as pg:
        planned = await pg.fetch(
            "SELECT statement FROM pg_prepared_statements WHERE generic_plans = 0 AND custom_plans > 5"
        )
    await store.aclose()

    assert [] == planned


async def test_hints_are_rare_under_load(store, postgres_store_url, monkeypatch):
    """Publishing in a loop does not send one NOTIFY for each commit, but so many a second and some to begin with."""
    async with await psycopg.AsyncConnection.connect(postgres_store_url, autocommit=True) as listener:
        await listener.execute("LISTEN notifykit")
        every_millisecond = SimpleNamespace(monotonic=iter(n / 1000 for n in count(1)).__next__)
        monkeypatch.setattr("notifykit.stores.sql.store.time", every_millisecond)
        for _ in range(60):
            await store.append([make_event()])
        await listener.execute("SELECT 1")
        heard = len([hint async for hint in listener.notifies(timeout=0)])

    assert NOTIFICATIONS_TO_SPARE <= heard <= NOTIFICATIONS_TO_SPARE + 0.061 * NOTIFICATIONS_PER_SECOND


async def test_a_server_that_comes_back_is_used_again(postgres_server):
    """While it is away every call says so; afterwards the same store works, and hears hints again."""
    store = PostgresStore(postgres_server.url, create=True)
    await store.open()
    await store.append([make_event()])
    await store.wait(timedelta(milliseconds=1))

    postgres_server.crash()
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            await store.append([make_event()])
        with pytest.raises(StoreUnavailableError):
            await store.circuits()
    postgres_server.resume()
    await store.append([make_event()])
    with anyio.fail_after(PROMPTLY):
        woken = await store.wait(LONG)

    assert woken
    assert 2 == len(await store.take(10, now=START, lease=LEASE))
    await store.aclose()


@pytest.mark.parametrize(("passing", "at_once"), [(True, 1), (False, 3)])
async def test_long_statements_go_one_at_a_time_while_others_pass(store, postgres_store_url, passing, at_once):
    """Events that pass a flood find a processor free; without them the flood has all that it can use."""
    await store.append([make_event()])
    await store.take(10, now=START, lease=LEASE, since=START - LEASE if passing else None)

    seen: list[int] = []
    with psycopg.connect(postgres_store_url) as locker, psycopg.connect(postgres_store_url, autocommit=True) as watch:
        locker.execute("LOCK notifykit_outbox IN ACCESS EXCLUSIVE MODE")
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(store.append, [make_event() for _ in range(SHORT + 1)])
            with anyio.fail_after(PROMPTLY):
                while at_once not in seen:
                    seen += watch.execute(WAITING).fetchone() or ()
                    await anyio.sleep(0.02)
            await anyio.sleep(0.1)
            seen += watch.execute(WAITING).fetchone() or ()
            locker.rollback()

    assert at_once == max(seen)


@pytest.mark.parametrize("cursor", [None, "next page"])
async def test_a_settlement_sees_who_took_the_event_while_it_waited(store, postgres_store_url, cursor):
    """It began under the right fence, and ends after another has taken the event: nothing of that event is written."""
    mine, lost = make_event(), make_event()
    await store.append([mine])
    await store.append([lost])
    await store.take(10, now=START, lease=LEASE)
    settlements = [
        Settlement(event.id, 1, [make_delivery(event)], cursor if event is mine else None) for event in (mine, lost)
    ]
    settled: set[str] = set()

    async def settle() -> None:
        settled.update(await store.settle(settlements, now=START, lease=LEASE, worker="planner-1"))

    with psycopg.connect(postgres_store_url) as taker, psycopg.connect(postgres_store_url, autocommit=True) as watch:
        taker.execute("UPDATE notifykit_outbox SET fence = fence + 1 WHERE event_id = %s", [lost.id])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(settle)
            with anyio.fail_after(PROMPTLY):
                while watch.execute(WAITING).fetchone() == (0,):
                    await anyio.sleep(0.01)
            taker.commit()

    assert {mine.id} == settled
    assert await find_delivery(store, mine.tenant, make_delivery(mine).id) is not None
    assert await find_delivery(store, lost.tenant, make_delivery(lost).id) is None


async def test_leases_are_prolonged_beside_a_result_that_is_being_written(store):
    """Results are written in an order of their own, so to wait for one of their rows could be a deadlock."""
    clock, events = FakeClock(), [make_event(), make_event()]
    for event in events:
        await plan(store, clock, event, [make_delivery(event)])
    recorded, other = await claim(store, clock)
    both = [(one.delivery_id, one.fence) for one in (recorded, other)]

    async with store._driver() as pg, pg.transaction():
        await pg.execute("SELECT id FROM notifykit_queue WHERE id = $1 FOR UPDATE", recorded.delivery_id)
        with anyio.fail_after(PROMPTLY):
            kept = await store.extend(both, until=START + LONG)

    assert {other.delivery_id} == kept
    assert {recorded.delivery_id, other.delivery_id} == await store.extend(both, until=START + LONG)
