"""Databases with a store's tables: made once, emptied for each test, because that is cheaper than making them again."""

from __future__ import annotations

import asyncio

import psycopg
from psycopg import sql

from notifykit.stores import store_from_url
from notifykit.stores.sql.schema import metadata
from tests.databases import mysql_connection


def create_tables(url: str) -> None:
    """Make the tables in the database behind ``url``."""

    async def create() -> None:
        store = store_from_url(url, create=True)
        await store.open()
        await store.aclose()

    asyncio.run(create())  # anyio refuses to run a loop while it prepares an async test


def empty_tables(url: str) -> None:
    """Delete every row of a PostgreSQL store."""
    with psycopg.connect(url, autocommit=True) as connection:
        for table in metadata.sorted_tables:
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)))


def empty_mysql_tables(url: str) -> None:
    """Delete every row of a MySQL store."""
    with mysql_connection(url) as connection, connection.cursor() as cursor:
        for table in metadata.sorted_tables:
            cursor.execute(f"DELETE FROM {table.name}")


def delete_keys(url: str, prefix: str) -> None:
    """Delete every key of a Redis store."""
    import redis

    with redis.from_url(url) as client:
        keys = [*client.scan_iter(f"{{{prefix}}}:*", count=1000)]
        if keys:
            client.unlink(*keys)
