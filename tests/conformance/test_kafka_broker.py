"""The broker on Kafka keeps the contract, on a server that speaks its protocol and on Apache Kafka itself."""

from __future__ import annotations

from uuid import uuid4

import pytest

from notifykit.testing import BrokerFeatures, BrokerSuite

pytest.importorskip("aiokafka", reason="needs aiokafka")

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from notifykit.brokers.kafka import KafkaBroker
from notifykit.brokers.url import lane_name
from notifykit.testing.suites.broker import LANE, URGENT


@pytest.mark.thorough
@pytest.mark.xdist_group("kafka")
class TestKafkaBroker(BrokerSuite):
    """Topics with a consumer group."""

    features = BrokerFeatures(redelivers=True, remote=True, foreign=True)

    @pytest.fixture
    def prefix(self):
        return f"test-{uuid4().hex[:12]}"

    @pytest.fixture
    def make_broker(self, kafka_url, prefix):
        return lambda: KafkaBroker(f"{kafka_url}?prefix={prefix}&partitions=2&session=1")

    @pytest.fixture
    def unreachable(self):
        return KafkaBroker("kafka://127.0.0.1:1")

    @pytest.fixture
    def put_foreign(self, kafka_url, prefix):
        async def put(lane, message):
            producer = AIOKafkaProducer(bootstrap_servers=kafka_url.removeprefix("kafka://"))
            await producer.start()
            await producer.send_and_wait(lane_name(prefix, lane), message)
            await producer.stop()

        return put


@pytest.mark.thorough
@pytest.mark.xdist_group("apache-kafka")
class TestApacheKafkaBroker(TestKafkaBroker):
    """Topics with a consumer group."""

    features = BrokerFeatures(redelivers=True, remote=True, foreign=True, wipes=True)

    @pytest.fixture
    def kafka_url(self, apache_kafka_url):
        return apache_kafka_url

    @pytest.fixture
    def wipe(self, kafka_url, prefix):
        async def wipe():
            admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url.removeprefix("kafka://"))
            await admin.start()
            await admin.delete_topics([lane_name(prefix, lane) for lane in (LANE, URGENT)])
            await admin.close()

        return wipe
