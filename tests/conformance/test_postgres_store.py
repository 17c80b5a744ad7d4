"""The PostgreSQL store keeps the contract, on a database that two stores share."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import NullPool, create_engine, make_url

from notifykit.stores.sql.schema import metadata
from notifykit.testing import StoreFeatures, StoreSuite
from tests.databases import new_database

pytest.importorskip("asyncpg", reason="needs asyncpg")

from notifykit.stores.sql.postgres import PostgresStore  # only where its driver is


@pytest.fixture(scope="module")
def postgres_database(postgres_url):
    """A database with the tables, for the tests of this file one after the other."""

    async def create(url):
        store = PostgresStore(url, create=True)
        await store.open()
        await store.aclose()

    with new_database(postgres_url) as url:
        anyio.run(create, url)
        yield url


@pytest.fixture
def empty_database(postgres_database):
    """The database, with nothing in it: an empty table is made sooner than a database."""
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        for table in metadata.sorted_tables:
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)))
    return postgres_database


class TestPostgresStore(StoreSuite):
    """A store in a database keeps every promise, beside other stores on the same database too."""

    features = StoreFeatures(joins=True, durable=True, concurrent=True, hints=True)

    @pytest.fixture
    async def store(self, empty_database):
        store = PostgresStore(empty_database)
        await store.open()
        yield store
        await store.aclose()

    @pytest.fixture
    async def make_second_store(self, empty_database):
        async with AsyncExitStack() as stores:

            async def make():
                other = PostgresStore(empty_database)
                await other.open()
                stores.push_async_callback(other.aclose)
                return other

            yield make

    @pytest.fixture
    def connection(self, empty_database, store):
        url = make_url(empty_database).set(drivername="postgresql+psycopg")
        engine = create_engine(url, poolclass=NullPool)
        with engine.connect() as connection:
            yield connection
