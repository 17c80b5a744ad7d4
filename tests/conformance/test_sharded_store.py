"""The store over several databases keeps the contract of one."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from notifykit.stores.sharded import ShardedStore
from notifykit.testing import DigestSuite, InboxSuite, StoreFeatures, StoreSuite
from notifykit.testing.suites.store.fixtures import StoreFixtures
from notifykit.testing.suites.store.handing import HandOffPromises
from notifykit.testing.suites.store.leases import LeasePromises
from notifykit.testing.suites.store.outbox import OutboxPromises
from tests.databases import new_database
from tests.stores import create_tables, empty_tables


class ShardedFixtures:
    """A store over two SQLite files for each test."""

    features = StoreFeatures(durable=True, concurrent=True, hints=True)

    @pytest.fixture
    def shards(self, sqlite_store_url, tmp_path):
        return {"a": sqlite_store_url, "b": f"sqlite:///{tmp_path / 'second.db'}"}

    @pytest.fixture
    async def store(self, shards):
        store = ShardedStore(shards)
        await store.open()
        yield store
        await store.aclose()

    @pytest.fixture
    async def make_second_store(self, shards):
        async with AsyncExitStack() as stores:

            async def make():
                other = ShardedStore(shards)
                await other.open()
                stores.push_async_callback(other.aclose)
                return other

            yield make


class TestShardedQueue(ShardedFixtures, OutboxPromises, LeasePromises, HandOffPromises, StoreFixtures):
    """What names no tenant keeps its promises; the other suites run in CI."""


@pytest.mark.thorough
class TestShardedInbox(ShardedFixtures, InboxSuite):
    """Inboxes keep every promise, whichever shard they are on."""


@pytest.mark.thorough
class TestShardedStore(ShardedFixtures, DigestSuite, StoreSuite):
    """Two databases keep every promise of one."""


@pytest.fixture(scope="session")
def second_postgres_tables(postgres_url):
    """The URL of another database with the tables of a store."""
    with new_database(postgres_url) as url:
        create_tables(url)
        yield url


class PostgresShards:
    """The same over two PostgreSQL databases."""

    @pytest.fixture
    def shards(self, postgres_store_url, second_postgres_tables):
        empty_tables(second_postgres_tables)
        return {"a": postgres_store_url, "b": second_postgres_tables}


class TestPostgresShardsInbox(PostgresShards, TestShardedInbox):
    """Inboxes keep every promise there, too."""


class TestPostgresShards(PostgresShards, TestShardedStore):
    """Two PostgreSQL databases keep every promise of one."""
