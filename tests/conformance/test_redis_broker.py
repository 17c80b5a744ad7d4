"""The broker on Redis Streams keeps the contract, on a real server."""

from __future__ import annotations

from uuid import uuid4

import pytest

from notifykit.testing import BrokerFeatures, BrokerSuite

pytest.importorskip("redis", reason="needs redis")

import redis

from notifykit.brokers.redis import RedisBroker
from notifykit.brokers.url import lane_name


class TestRedisBroker(BrokerSuite):
    """Streams with a consumer group."""

    features = BrokerFeatures(redelivers=True, remote=True, wipes=True, foreign=True)

    @pytest.fixture
    def prefix(self, redis_url):
        prefix = f"test-{uuid4().hex[:12]}"
        yield prefix
        self.delete(redis_url, prefix)

    @staticmethod
    def delete(url, prefix):
        with redis.from_url(url) as client:
            if keys := [*client.scan_iter(f"{prefix}:*")]:
                client.delete(*keys)

    @pytest.fixture
    def make_broker(self, redis_url, prefix):
        return lambda: RedisBroker(f"{redis_url}?prefix={prefix}&redeliver=0.1")

    @pytest.fixture
    def unreachable(self):
        return RedisBroker("redis://127.0.0.1:1/0")

    @pytest.fixture
    def wipe(self, redis_url, prefix):
        async def wipe():
            self.delete(redis_url, prefix)

        return wipe

    @pytest.fixture
    def put_foreign(self, redis_url, prefix):
        async def put(lane, message):
            with redis.from_url(redis_url) as client:
                client.xadd(lane_name(prefix, lane, ":"), {"t": message})
                client.xadd(lane_name(prefix, lane, ":"), {"other": message})

        return put
