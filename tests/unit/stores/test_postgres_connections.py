"""Every connection of a PostgreSQL store is made the same way: those of its pool, the one that listens, an engine's."""

from __future__ import annotations

import socket
from datetime import timedelta
from urllib.parse import urlsplit

import anyio
import psycopg
import pytest
from sqlalchemy import NullPool, create_engine, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from notifykit import Event, Notifykit
from notifykit.errors import ConfigurationError, StoreUnavailableError
from notifykit.models.endpoint import Endpoint
from notifykit.stores.sql.postgres import store as postgres
from notifykit.stores.sql.postgres.store import PostgresStore
from notifykit.telemetry import LoopFailed, TelemetryEvent
from notifykit.testing.servers import free_port
from tests.databases import new_database
from tests.unit.dispatch.support import ScriptedChannel

PROMPTLY = 10
PAID = Event(type="order.paid", data={})
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"


async def heard(store: PostgresStore) -> None:
    """Wait until a store hears hints."""
    with anyio.fail_after(PROMPTLY):
        while not store.hears_notifications:
            await store.wait(timedelta(milliseconds=10))


def sessions(url: str, name: str) -> int:
    """Count the sessions of an application."""
    with psycopg.connect(url) as connection:
        (count,) = connection.execute(SESSIONS, [name]).fetchone() or (0,)
    return int(count)


# ── what hosts hand out ────────────────────────────────────────────────────────────────────────


async def test_a_server_without_tls_is_refused_if_it_is_required(postgres_store_url):
    """There is no way back to a connection in the clear."""
    with pytest.raises(StoreUnavailableError, match="rejected SSL"):
        await Notifykit(f"{postgres_store_url}?sslmode=require").open()


async def test_parameters_hold_for_the_pool_and_for_the_listener(postgres_store_url):
    """Whether they are libpq's or the driver's."""
    query = "sslmode=prefer&connect_timeout=5&application_name=parameters&options=-cgeqo%3Doff&command_timeout=20"
    store = PostgresStore(f"{postgres_store_url}?{query}")
    await store.open()
    await heard(store)

    async with store._driver() as pg:
        pooled = await pg.fetchval("SHOW geqo")
    listening = await store._listener.fetchval("SHOW geqo")
    with anyio.fail_after(PROMPTLY):
        while sessions(postgres_store_url, "parameters") > 2:  # a session that was cut off while it began
            await anyio.sleep(0.01)
    seen = sessions(postgres_store_url, "parameters")
    await store.aclose()

    assert ("off", "off", 2) == (pooled, listening, seen)


async def test_the_first_of_several_hosts_that_answers_is_used(postgres_store_url):
    """For the pool and for the listener."""
    parts = urlsplit(postgres_store_url)
    url = parts._replace(netloc=f"{parts.username}@127.0.0.1:{free_port()},{parts.hostname}:{parts.port}").geturl()

    async with Notifykit(url) as kit:
        await heard(kit.store)  # type: ignore[arg-type]
        await kit.apublish(PAID, tenant="acme")
        stored = (await kit.stats()).unplanned

    assert 1 == stored


async def test_a_socket_is_a_host(postgres_url):
    """By its folder, as ``host`` behind the question mark or escaped in the address."""
    with new_database(postgres_url) as database, psycopg.connect(database) as connection:
        (folder,) = connection.execute("SHOW unix_socket_directories").fetchone() or ("",)
        parts = urlsplit(database)
    if not folder or not await anyio.Path(folder).is_dir():
        pytest.skip("needs a server on this machine")

    escaped = folder.replace("/", "%2F")
    for url in (
        f"postgresql://postgres@/postgres?host={folder}&port={parts.port}",
        f"postgresql://postgres@{escaped}:{parts.port}/postgres",
    ):
        await PostgresStore(url).upgrade(lambda connection: connection.exec_driver_sql("SELECT 1"))


async def test_a_schema_of_ones_own_has_the_tables(postgres_url):
    """``options=-c search_path=…``, as Django's settings have it: migrated, published to and read from there."""
    with new_database(postgres_url) as database, psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA shop")
        async with Notifykit(f"{database}?options=-csearch_path%3Dshop%2Cpublic", create=True) as kit:
            await kit.apublish(PAID, tenant="acme")
        counted = connection.execute("SELECT count(*) FROM shop.notifykit_outbox").fetchone()

    assert (1,) == counted


# ── a listener that cannot connect ─────────────────────────────────────────────────────────────


async def test_a_listener_that_cannot_connect_is_told_of(postgres_store_url, monkeypatch):
    """As a telemetry event, once; work goes on by polling."""
    monkeypatch.setattr(postgres, "_DEAF_AFTER", 1)
    told: list[TelemetryEvent] = []
    async with Notifykit(postgres_store_url, subscribers=[told.append]) as kit:

        async def refused() -> None:
            raise OSError("no more connections for you")

        monkeypatch.setattr(kit.store, "_separate_connection", refused)
        async with kit.dispatcher(channels=[ScriptedChannel()]):
            with anyio.fail_after(PROMPTLY):
                while not (failed := [event for event in told if isinstance(event, LoopFailed)]):
                    await anyio.sleep(0.01)
        error = kit.store.listen_error  # type: ignore[attr-defined]

    (event,) = failed
    assert ("wait", True) == (event.loop, "polling goes on: OSError: no more connections" in event.error)
    assert "no more connections" in error


async def test_a_listener_that_hears_nothing_is_told_of(postgres_store_url, monkeypatch):
    """A connection that LISTEN does not reach looks like a quiet one."""
    monkeypatch.setattr(postgres, "_LATE", 0.01)
    monkeypatch.setattr(postgres, "_NOTIFY", "SELECT 1")
    store = PostgresStore(postgres_store_url)
    await store.open()

    with anyio.fail_after(PROMPTLY):
        while store.listen_error is None:
            await store.wait(timedelta(milliseconds=1))
    with pytest.raises(StoreUnavailableError, match=r"\?pooler=transaction"):
        await store.wait(timedelta(milliseconds=1))
    await store.wait(timedelta(milliseconds=1))

    await store.aclose()


# ── an engine of one's own ─────────────────────────────────────────────────────────────────────


def on_asyncpg(url: str, **options: object) -> AsyncEngine:
    return create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), **options)


@pytest.mark.parametrize("options", [{"pool_size": 1}, {"poolclass": NullPool}], ids=["overflow", "no pool"])
async def test_connections_that_an_engine_does_not_keep_are_closed(postgres_store_url, caplog, options):
    """By the loop that they belong to, without a word in the log."""
    server_settings = {"application_name": "overflow"}
    engine = on_asyncpg(postgres_store_url, connect_args={"server_settings": server_settings}, **options)
    async with Notifykit(postgres_store_url, engine=engine) as kit:
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(kit.store.get, Endpoint, "acme", ["end_1"])
        with anyio.fail_after(PROMPTLY):
            while sessions(postgres_store_url, "overflow") > 1:
                await anyio.sleep(0.05)
    await engine.dispose()

    assert [] == [record.getMessage() for record in caplog.records if record.name.startswith("sqlalchemy")]


async def test_an_engine_is_enough(postgres_store_url, monkeypatch):
    """Its URL is the kit's, whatever the environment says; the listener connects as the engine does."""
    monkeypatch.setenv("NOTIFYKIT_URL", "sqlite:///elsewhere.db")
    server_settings = {"application_name": "enough"}
    engine = on_asyncpg(postgres_store_url, connect_args={"server_settings": server_settings})

    async with Notifykit(engine=engine) as kit:
        await kit.apublish(PAID, tenant="acme")
        await heard(kit.store)  # type: ignore[arg-type]
        seen, stored = sessions(postgres_store_url, "enough"), (await kit.stats()).unplanned
    await engine.dispose()

    assert (2, 1) == (seen, stored)


async def test_an_engine_that_connects_by_itself_is_used_as_it_is(postgres_store_url):
    """One with a password that changes every hour, say, has a function for it."""
    import asyncpg

    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(postgres_store_url))

    async with Notifykit(engine=engine) as kit:
        await kit.apublish(PAID, tenant="acme")
        await heard(kit.store)  # type: ignore[arg-type]
        stored = (await kit.stats()).unplanned
    await engine.dispose()

    assert 1 == stored


async def test_sync_calls_do_not_borrow_from_another_loops_engine(postgres_store_url):
    """They connect as it does, but in a pool of their own: connections belong to the loop that made them."""
    engine = on_asyncpg(postgres_store_url, pool_size=1)
    async with Notifykit(engine=engine) as kit:
        await kit.apublish(PAID, tenant="acme")
        await anyio.to_thread.run_sync(lambda: kit.publish(PAID, tenant="acme"))
        await kit.apublish(PAID, tenant="acme")
        stored = (await kit.stats()).unplanned
        await anyio.to_thread.run_sync(kit.close)
    await engine.dispose()

    assert 3 == stored


@pytest.mark.parametrize("other", ["postgresql://db.internal/other", "postgresql://db.internal:1/shop"])
def test_an_engine_on_another_database_is_refused(other):
    """Events would be published to one and looked for in the other."""
    with pytest.raises(ConfigurationError, match="leave the URL out"):
        Notifykit("postgresql://db.internal/shop", engine=on_asyncpg(other))


def test_what_is_no_engine_on_asyncpg_is_refused(postgres_store_url):
    """A sync engine, another driver, another kind of database, another thing."""
    psycopg_url = make_url(postgres_store_url).set(drivername="postgresql+psycopg")

    for others in (create_engine(psycopg_url), create_async_engine(psycopg_url)):
        with pytest.raises(ConfigurationError, match="AsyncEngine on asyncpg"):
            Notifykit(postgres_store_url, engine=others)  # type: ignore[arg-type]
    for other in (create_async_engine("sqlite+aiosqlite:///shop.db"), 5):
        with pytest.raises(ConfigurationError, match="PostgreSQL store"):
            Notifykit(engine=other)  # type: ignore[arg-type]


def test_the_same_database_by_another_name_is_accepted():
    """The loopback has several names, the port a default."""
    Notifykit("postgresql://u@localhost/shop", engine=on_asyncpg("postgresql://u@127.0.0.1:5432/shop"))


async def test_a_name_that_leads_nowhere_is_a_database_that_does_not_answer():
    """Nothing listens on the port; the error is one of ours."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(StoreUnavailableError):
            await Notifykit(f"postgresql://u@127.0.0.1:{probe.getsockname()[1]}/shop").open()
