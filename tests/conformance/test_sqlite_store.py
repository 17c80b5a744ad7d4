"""The SQLite store keeps the contract, on a file that two stores share."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from sqlalchemy import NullPool, create_engine

from notifykit.stores.sql.sqlite.store import SqliteStore
from notifykit.testing import DigestSuite, InboxSuite, StoreFeatures, StoreSuite


class SqliteFixtures:
    """A store for each test."""

    features = StoreFeatures(joins=True, durable=True, concurrent=True, hints=True)

    @pytest.fixture
    async def store(self, sqlite_store_url):
        store = SqliteStore(sqlite_store_url, synchronous="NORMAL")
        await store.open()
        yield store
        await store.aclose()

    @pytest.fixture
    async def make_second_store(self, sqlite_store_url):
        async with AsyncExitStack() as stores:

            async def make():
                other = SqliteStore(sqlite_store_url, synchronous="NORMAL")
                await other.open()
                stores.push_async_callback(other.aclose)
                return other

            yield make

    @pytest.fixture
    def connection(self, sqlite_store_url, store):
        engine = create_engine(sqlite_store_url, poolclass=NullPool)
        with engine.connect() as connection:
            yield connection


class TestSqliteInbox(SqliteFixtures, InboxSuite):
    """Inboxes keep every promise."""


class TestSqliteStore(SqliteFixtures, DigestSuite, StoreSuite):
    """A store in a file keeps every promise, beside other stores on the same file too."""
