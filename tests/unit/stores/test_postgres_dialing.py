"""A connection to PostgreSQL that is given up while it is made."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress

import psycopg

from notifykit.stores.sql.postgres.connections import Connector
from notifykit.stores.sql.postgres.url import PostgresUrl

#: More turns of the loop than connecting takes.
TURNS = 40
OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def test_dialing_may_be_cancelled_at_any_moment(postgres_store_url):
    """No error is left to the event loop, and no connection to the server."""
    connector = Connector(PostgresUrl.parse(postgres_store_url))
    left = []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: left.append(context))
    try:
        for turns in range(TURNS):
            dialing = asyncio.create_task(connector.connect())
            for _ in range(turns):
                await asyncio.sleep(0)
            dialing.cancel()
            with suppress(asyncio.CancelledError):
                (await dialing).terminate()  # it was faster
        async with asyncio.timeout(30):
            with psycopg.connect(postgres_store_url, autocommit=True) as connection:
                while connection.execute(OPEN).fetchone() != (0,):
                    await asyncio.sleep(0.01)
        gc.collect()
    finally:
        loop.set_exception_handler(handler)

    assert [] == left
