"""The broker on RabbitMQ keeps the contract, on a real server."""

from __future__ import annotations

from uuid import uuid4

import pytest

from notifykit.testing import BrokerFeatures, BrokerSuite

pytest.importorskip("aio_pika", reason="needs aio-pika")

import aio_pika

from notifykit.brokers.rabbitmq import RabbitBroker
from notifykit.brokers.url import lane_name
from notifykit.testing.suites.broker import LANE


@pytest.mark.thorough
@pytest.mark.xdist_group("rabbitmq")
class TestRabbitBroker(BrokerSuite):
    """Quorum queues."""

    features = BrokerFeatures(redelivers=True, remote=True, wipes=True, foreign=True)

    @pytest.fixture
    def prefix(self):
        return f"test-{uuid4().hex[:12]}"

    @pytest.fixture
    def make_broker(self, rabbitmq_url, prefix):
        return lambda: RabbitBroker(f"{rabbitmq_url}?prefix={prefix}&prefetch=50")

    @pytest.fixture
    def unreachable(self):
        return RabbitBroker("amqp://guest:guest@127.0.0.1:1/")

    @pytest.fixture
    def put_foreign(self, rabbitmq_url, prefix):
        async def put(lane, message):
            async with await aio_pika.connect(rabbitmq_url) as connection:
                channel = await connection.channel()
                await channel.default_exchange.publish(aio_pika.Message(message), lane_name(prefix, lane, "."))

        return put

    @pytest.fixture
    def wipe(self, rabbitmq_url, prefix):
        async def wipe():
            async with await aio_pika.connect(rabbitmq_url) as connection:
                channel = await connection.channel()
                await channel.queue_delete(lane_name(prefix, LANE, "."))

        return wipe
