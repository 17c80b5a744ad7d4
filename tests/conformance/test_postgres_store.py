"""The PostgreSQL store keeps the contract, on a database that two stores share."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import ClassVar

import pytest
from sqlalchemy import NullPool, create_engine, make_url

from notifykit.testing import DigestSuite, InboxSuite, StoreFeatures, StoreSuite

pytest.importorskip("asyncpg", reason="needs asyncpg")

from notifykit.stores.sql.postgres.store import PostgresStore


class PostgresFixtures:
    """A store for each test."""

    features: ClassVar = StoreFeatures(joins=True, durable=True, concurrent=True, hints=True)

    @pytest.fixture
    async def store(self, postgres_store_url):
        store = PostgresStore(postgres_store_url)
        await store.open()
        yield store
        await store.aclose()

    @pytest.fixture
    async def make_second_store(self, postgres_store_url):
        async with AsyncExitStack() as stores:

            async def make():
                other = PostgresStore(postgres_store_url)
                await other.open()
                stores.push_async_callback(other.aclose)
                return other

            yield make

    @pytest.fixture
    def connection(self, postgres_store_url, store):
        url = make_url(postgres_store_url).set(drivername="postgresql+psycopg")
        engine = create_engine(url, poolclass=NullPool)
        with engine.connect() as connection:
            yield connection


class TestPostgresInbox(PostgresFixtures, InboxSuite):
    """Inboxes keep every promise."""


class TestPostgresStore(PostgresFixtures, DigestSuite, StoreSuite):
    """A store in a database keeps every promise, beside other stores on the same database too."""


@pytest.mark.thorough
class TestPostgresStoreBehindPooler(TestPostgresStore):
    """The same with another server connection behind ours for each transaction; hints are not heard there."""

    features = StoreFeatures(joins=True, durable=True, concurrent=True, hints=False)

    @pytest.fixture
    async def store(self, postgres_store_url, pgbouncer):
        store = PostgresStore(pgbouncer.to("transaction"))
        await store.open()
        yield store
        await store.aclose()

    @pytest.fixture
    async def make_second_store(self, pgbouncer):
        async with AsyncExitStack() as stores:

            async def make():
                other = PostgresStore(pgbouncer.to("transaction"))
                await other.open()
                stores.push_async_callback(other.aclose)
                return other

            yield make
