"""What PostgreSQL refuses, and why: each kind of error is another matter for who called, and for the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import anyio
import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from notifykit import Notifykit, SchemaError, StoreError, StoreUnavailableError
from notifykit.cli import main
from notifykit.errors import NewerSchemaError, ValueRefusedError
from notifykit.stores.sql.postgres.store import PostgresStore
from notifykit.testing import START, make_event
from tests.databases import new_database

PROMPTLY = 10
OURS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'notifykit'"
DEMOTE = "SET default_transaction_read_only = on"


@pytest.fixture
async def store(postgres_store_url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(postgres_store_url)
    await store.open()
    yield store
    await store.aclose()


async def everywhere(store: PostgresStore, statement: str | None = None, count: int = 5) -> list[Any]:
    """Run a statement on so many connections of the pool, and return them."""
    async with AsyncExitStack() as stack:
        lent = [await stack.enter_async_context(store._driver()) for _ in range(count)]
        for pg in lent:
            if statement is not None:
                await pg.execute(statement)
    return lent


async def hears(store: PostgresStore) -> None:
    """Wait until the store listens."""
    with anyio.fail_after(PROMPTLY):
        while store._listener is None:
            await store.wait(timedelta(milliseconds=10))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("08006", StoreUnavailableError),
        ("25006", StoreUnavailableError),
        ("40001", StoreUnavailableError),
        ("40P01", StoreUnavailableError),
        ("53100", StoreUnavailableError),
        ("53200", StoreUnavailableError),
        ("55P03", StoreUnavailableError),
        ("57014", StoreUnavailableError),
        ("57P01", StoreUnavailableError),
        ("57P05", StoreUnavailableError),
        ("58030", StoreUnavailableError),
        ("22021", ValueRefusedError),
        ("23505", ValueRefusedError),
        ("54000", ValueRefusedError),
        ("42703", SchemaError),
        ("42P01", SchemaError),
        ("42P10", SchemaError),
        ("42501", StoreError),
        ("XX000", StoreError),
    ],
)
async def test_a_code_of_the_server_is_one_of_our_errors(store, state, expected):
    """Whether to try again, to leave a value out or to call an operator is told by the type, on either way in."""
    fail = f"DO $$ BEGIN RAISE EXCEPTION 'said so' USING ERRCODE = '{state}'; END $$"

    with pytest.raises(StoreError) as through_driver:
        await everywhere(store, fail, 1)
    with pytest.raises(StoreError) as through_engine:
        await store._write(lambda connection: connection.exec_driver_sql(fail))

    assert (expected, expected) == (through_driver.type, through_engine.type)
    assert [] == await store.circuits()


async def test_a_value_that_is_refused_is_not_repeated(store):
    """It may be private, and the error ends up in logs."""
    with pytest.raises(ValueRefusedError) as refused:
        await store._write(lambda connection: connection.execute(text("SELECT 'P4YL04D'::int")))

    assert "P4YL04D" not in str(refused.value)


async def test_connections_that_the_server_has_ended_are_not_handed_out(store, postgres_store_url):
    """After a restart or a timeout of idle sessions no call fails: nothing was sent, and others can be made."""
    lent = await everywhere(store)
    with psycopg.connect(postgres_store_url, autocommit=True) as connection:
        connection.execute(OURS)
    with anyio.fail_after(PROMPTLY):
        while not all(pg.is_closed() for pg in lent):
            await anyio.sleep(0.005)

    published = await asyncio.gather(*(store.append([make_event()]) for _ in range(20)))
    read = await asyncio.gather(*(store.circuits() for _ in range(5)))

    assert (20, 5) == (len(published), len(read))


async def test_after_a_failover_one_call_fails_and_no_connection_is_kept(store):
    """Sessions to the old primary live on and are read-only; a new connection reaches the new one."""
    await hears(store)
    old = await everywhere(store, DEMOTE)
    listener = store._listener

    with pytest.raises(StoreUnavailableError, match="read-only"):
        await store.append([make_event()])
    await asyncio.gather(*(store.append([make_event()]) for _ in range(20)))
    await store._write(lambda connection: connection.exec_driver_sql("UPDATE notifykit_queue SET fence = 1"))

    assert not set(old) & set(await everywhere(store))
    assert store._listener is not listener


async def test_a_process_with_nothing_to_write_notices_a_failover(store):
    """What it asks every few seconds tells that the server is no primary any more, on whichever connection."""
    await hears(store)
    await everywhere(store, DEMOTE)
    listener = store._listener
    await listener.execute(DEMOTE)

    with pytest.raises(StoreUnavailableError, match="read-only"):
        await store.next_due()
    again = (await store.next_due()).is_open
    await hears(store)
    await store.append([make_event()])

    assert not again
    assert store._listener is not listener


async def test_an_engine_of_ones_own_is_left_as_it_was(postgres_store_url):
    """A closed store looks at the connections of the host's pool no more."""
    engine = create_async_engine(make_url(postgres_store_url).set(drivername="postgresql+asyncpg"))
    store = PostgresStore(postgres_store_url, engine=engine)
    for _ in range(2):
        await store.open()
        await store.append([make_event()])
        await store.aclose()
    looks = len(list(engine.sync_engine.pool.dispatch.checkout))
    await engine.dispose()

    assert 0 == looks


async def test_a_read_only_database_is_refused_where_it_is_opened(postgres_url, postgres_empty_tables, capsys):
    """``open()``, ``migrate`` and ``notifykit check`` say so, and what to do, although all tables are there."""
    with new_database(postgres_url, template_url=postgres_empty_tables) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {connection.info.dbname} SET default_transaction_read_only = on")

        with pytest.raises(StoreUnavailableError, match=r"is read-only.*use the address of the primary"):
            await Notifykit(url).open()
        with pytest.raises(StoreUnavailableError, match="is read-only"):
            await Notifykit(url).migrate()
        codes = [await asyncio.to_thread(main, [command, "--url", url]) for command in ("check", "migrate")]
        said = capsys.readouterr()

    assert [4, 4] == codes
    assert "read-only" in said.out
    assert "read-only" in said.err


async def test_no_lease_is_ended_while_results_cannot_be_written(store, postgres_store_url):
    """The rescue says so at once: to wait and then end leases would take them from workers that live."""
    async with await psycopg.AsyncConnection.connect(postgres_store_url) as connection:
        await connection.execute("LOCK TABLE notifykit_deliveries IN SHARE MODE")
        with anyio.fail_after(PROMPTLY), pytest.raises(StoreUnavailableError, match="lock"):
            await store.rescue(10, now=START, max_abandoned=5)

    assert [] == await store.rescue(10, now=START, max_abandoned=5)


async def test_newer_tables_are_noticed(store, postgres_store_url):
    """What a process asks every few seconds tells that another one has migrated the tables."""
    store.schema = "0001"

    with pytest.raises(NewerSchemaError, match="newer than 0001: upgrade notifykit") as newer:
        await store.next_due()

    assert ("0001", PostgresStore.schema) == (newer.value.known, newer.value.found)
