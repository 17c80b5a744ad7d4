"""Databases with a store's tables: made once, emptied for each test, because that is cheaper than making them again."""

from __future__ import annotations

import anyio
import psycopg
from psycopg import sql

from notifykit.stores import store_from_url
from notifykit.stores.sql.schema import metadata


def create_tables(url: str) -> None:
    """Make the tables in the database behind ``url``."""

    async def create() -> None:
        store = store_from_url(url, create=True)
        await store.open()
        await store.aclose()

    anyio.run(create)


def empty_tables(url: str) -> None:
    """Delete every row of a PostgreSQL store."""
    with psycopg.connect(url, autocommit=True) as connection:
        for table in metadata.sorted_tables:
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)))
