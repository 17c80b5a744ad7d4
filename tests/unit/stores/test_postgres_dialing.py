"""A connection to PostgreSQL that is given up while it is made, or begins to listen: asyncio logs no error."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from notifykit.stores.sql.postgres.connections import Connector
from notifykit.stores.sql.postgres.store import PostgresStore
from notifykit.stores.sql.postgres.url import PostgresUrl

#: More turns of the loop than connecting takes.
TURNS = 40
OPEN = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.fixture
async def logged():
    """What asyncio would log."""
    contexts: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    yield contexts
    loop.set_exception_handler(handler)


@pytest.fixture
def others(postgres_store_url):
    """The connections of tests before, which share the database."""
    return open_connections(postgres_store_url)


def open_connections(url):
    with psycopg.connect(url, autocommit=True) as connection:
        return {pid for (pid,) in connection.execute(OPEN)}


async def none_is_open(url, others):
    async with asyncio.timeout(30):
        while open_connections(url) - others:
            await asyncio.sleep(0.01)
    gc.collect()


async def test_dialing_may_be_cancelled_at_any_moment(postgres_store_url, logged, others):
    """No error is left to the event loop, and no connection to the server."""
    connector = Connector(PostgresUrl.parse(postgres_store_url))
    for turns in range(TURNS):
        dialing = asyncio.create_task(connector.connect())
        for _ in range(turns):
            await asyncio.sleep(0)
        dialing.cancel()
        with suppress(asyncio.CancelledError):
            (await dialing).terminate()  # it was faster
    await none_is_open(postgres_store_url, others)

    assert [] == logged


async def test_a_store_may_be_closed_while_it_begins_to_listen(postgres_store_url, logged, others, monkeypatch):
    """The statement is cancelled over a connection of its own, which is made to its end."""
    for turns in range(5):
        store = PostgresStore(postgres_store_url)
        await store.open()
        connect, is_connected = store.connector.connect, asyncio.Event()

        async def connected(connect=connect, is_connected=is_connected):
            connection = await connect()
            is_connected.set()
            return connection

        monkeypatch.setattr(store.connector, "connect", connected)
        waiting = asyncio.create_task(store.wait(timedelta(seconds=10)))
        await is_connected.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        await store.aclose()
        waiting.cancel()
        await asyncio.wait([waiting])
    await none_is_open(postgres_store_url, others)

    assert [] == logged
