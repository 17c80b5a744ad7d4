"""The Redis store keeps the contract, on a server that two stores share."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from notifykit.testing import DigestSuite, InboxSuite, StoreFeatures, StoreSuite

pytest.importorskip("redis", reason="needs redis")

from notifykit.stores.redis.store import RedisStore


class RedisFixtures:
    """A store for each test."""

    features = StoreFeatures(durable=True, concurrent=True, hints=True, fair=True)

    @pytest.fixture
    async def store(self, redis_store_url):
        store = RedisStore(redis_store_url)
        await store.open()
        yield store
        await store.aclose()

    @pytest.fixture
    async def make_second_store(self, redis_store_url):
        async with AsyncExitStack() as stores:

            async def make():
                other = RedisStore(redis_store_url)
                await other.open()
                stores.push_async_callback(other.aclose)
                return other

            yield make


class TestRedisInbox(RedisFixtures, InboxSuite):
    """Inboxes keep every promise."""


class TestRedisStore(RedisFixtures, DigestSuite, StoreSuite):
    """A store in Redis keeps every promise, beside other stores on the same server too."""
