"""The MySQL store keeps the contract, on a database that two stores share."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import ClassVar

import pytest
from sqlalchemy import NullPool, create_engine, make_url

from notifykit.testing import DigestSuite, InboxSuite, StoreFeatures, StoreSuite

pytest.importorskip("asyncmy", reason="needs asyncmy")

from notifykit.stores.sql.mysql.store import MysqlStore


class MysqlFixtures:
    """A store for each test."""

    features: ClassVar = StoreFeatures(joins=True, durable=True, concurrent=True)

    @pytest.fixture
    async def store(self, mysql_store_url):
        store = MysqlStore(mysql_store_url)
        await store.open()
        yield store
        await store.aclose()

    @pytest.fixture
    async def make_second_store(self, mysql_store_url):
        async with AsyncExitStack() as stores:

            async def make():
                other = MysqlStore(mysql_store_url)
                await other.open()
                stores.push_async_callback(other.aclose)
                return other

            yield make

    @pytest.fixture
    def connection(self, mysql_store_url, store):
        engine = create_engine(make_url(mysql_store_url).set(drivername="mysql+pymysql"), poolclass=NullPool)
        with engine.connect() as connection:
            yield connection


class TestMysqlInbox(MysqlFixtures, InboxSuite):
    """Inboxes keep every promise."""


class TestMysqlStore(MysqlFixtures, DigestSuite, StoreSuite):
    """A store in a database keeps every promise, beside other stores on the same database too."""
