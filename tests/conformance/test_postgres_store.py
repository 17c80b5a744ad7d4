"""The PostgreSQL store keeps the contract, on a database that two stores share."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from sqlalchemy import NullPool, create_engine, make_url

from notifykit.testing import StoreFeatures, StoreSuite

pytest.importorskip("asyncpg", reason="needs asyncpg")

from notifykit.stores.sql import postgres_outbox_batches
from notifykit.stores.sql.postgres import PostgresStore
from notifykit.testing.suites.store.circuits import BroughtEventPromises
from notifykit.testing.suites.store.outbox import OutboxPromises
from notifykit.testing.suites.store.planning import PlanningPromises
from notifykit.testing.suites.store.purge import PurgePromises
from notifykit.testing.suites.store.sharing import SharingPromises


class TestPostgresStore(StoreSuite):
    """A store in a database keeps every promise, beside other stores on the same database too."""

    features = StoreFeatures(joins=True, durable=True, concurrent=True, hints=True)

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


class TestPostgresStoreWithOutboxBatches(TestPostgresStore):
    """The same when ordinary events share rows of the outbox however few there are, and these hold but three."""

    #: Every day the promises about the outbox; the others never see it.
    touches = (OutboxPromises, PlanningPromises, PurgePromises, SharingPromises, BroughtEventPromises)

    @pytest.fixture(autouse=True)
    def in_bundles(self, monkeypatch):
        monkeypatch.setattr(postgres_outbox_batches, "FEWEST", 1)
        monkeypatch.setattr(postgres_outbox_batches, "_ROOM", 3 * 40)
